"""`make structure`: the figures of the project's layout, measured from its imports and definitions.

A room is a folder that holds modules, or a program in a package's root. An arrow leads from a room to one that it
imports; a room's layer is one above the highest room that it imports within the same package.
"""

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sim", "policies", "rl", "real")
APART = ("lerobot_robot_fairino_fr3",)  # a distribution of its own
FENCE = "```mermaid"
Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """A file of the project: its dotted name, path and syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def folder(self) -> str:
        """Dotted name of the folder that the file lies in."""
        return ".".join(self.path.relative_to(self.path.parents[self.depth]).parts[:-1])

    @property
    def depth(self) -> int:
        """How many folders lie between the repository and the file."""
        return self.name.count(".") + (self.path.name == "__init__.py")

    @property
    def is_program(self) -> bool:
        """Whether a user runs it with `python -m`."""
        return self.path.name == "__main__.py" or any(_is_main_guard(node) for node in self.tree.body)


def _is_main_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def read_modules(root: Path = ROOT) -> dict[str, Module]:
    """Return every module of the four packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if not set(APART) & set(parts):
                name = ".".join(parts).removesuffix(".__init__")
                found[name] = Module(name, path, ast.parse(path.read_text()))
    return found


def imports(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """Return the project's modules that `module` imports, wherever in the file it does so."""
    named: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {name if name in modules else node.module for name in inner}
    return {name for name in named if name in modules} - {module.name}


def file_graph(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    return {name: imports(module, modules) for name, module in modules.items()}


def folder_graph(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Return which folder imports which."""
    return _grouped(file_graph(modules), {name: module.folder for name, module in modules.items()})


def room_graph(modules: Mapping[str, Module], package: str) -> dict[str, set[str]]:
    """Return which room of `package` imports which other."""
    inside = {name for name, module in modules.items() if module.package == package and name != package}
    files = {name: targets & inside for name, targets in file_graph(modules).items() if name in inside}
    return _grouped(files, {name: ".".join(name.split(".")[:2]) for name in inside})


def _grouped(files: Graph, group: Mapping[str, str]) -> dict[str, set[str]]:
    arrows: dict[str, set[str]] = {group[name]: set() for name in files}
    for name, targets in files.items():
        arrows[group[name]] |= {group[target] for target in targets} - {group[name]}
    return arrows


def mutual_pairs(arrows: Graph) -> list[tuple[str, str]]:
    """Return the pairs of nodes that import each other."""
    return sorted((a, b) for a in arrows for b in arrows[a] if a < b and a in arrows.get(b, ()))


def circles(arrows: Graph) -> list[list[str]]:
    """Return the groups of nodes that reach each other (strongly connected components of more than one node)."""
    reached = {node: _reach(node, arrows) for node in arrows}
    groups = {frozenset({a} | {b for b in reached[a] if a in reached.get(b, ())}) for a in arrows}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reach(start: str, arrows: Graph) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


def layers(arrows: Graph) -> dict[str, int]:
    """Return the layer of every node, 1 for one that imports none; rooms in a circle share the lowest that fits."""
    found: dict[str, int] = {}

    def layer(node: str, above: tuple[str, ...]) -> int:
        if node not in found:
            below = [layer(other, (*above, node)) for other in arrows[node] if other not in (*above, node)]
            found[node] = 1 + max(below, default=0)
        return found[node]

    for node in arrows:
        layer(node, ())
    return found


def loose_modules(modules: Mapping[str, Module]) -> list[str]:
    """Return modules in a package's root that are no program."""
    return [
        name
        for name, module in modules.items()
        if name.count(".") == 1 and module.path.name != "__init__.py" and not module.is_program
    ]


def function_lines(modules: Iterable[Module]) -> list[int]:
    """Return the length of every function without its docstring, ascending, as style guides count it."""
    lengths = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node, clean=False) is not None
                first = node.body[0]
                doc = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
                lengths.append((node.end_lineno or node.lineno) - node.lineno + 1 - doc)
    return sorted(lengths)


def figures(root: Path = ROOT) -> list[tuple[str, str, str]]:
    """Return rows of figure, value and bar."""
    modules = read_modules(root)
    lengths = function_lines(modules.values())
    sizes = sorted(len(module.path.read_text().splitlines()) for module in modules.values())
    height = {package: max(layers(room_graph(modules, package)).values()) for package in PACKAGES}
    loose = loose_modules(modules)
    return [
        ("folders that import each other", str(len(mutual_pairs(folder_graph(modules)))), "0"),
        ("files in a circle", str(sum(map(len, circles(file_graph(modules))))), "0"),
        ("loose modules that are no program", str(len(loose)), "<= 8"),
        ("layers of imports, sim", str(height["sim"]), "<= 8"),
        ("layers of imports, real", str(height["real"]), "<= 6"),
        ("layers of imports, policies / rl", f"{height['policies']} / {height['rl']}", ""),
        ("folders, sim / policies / rl / real", _rooms(modules), ""),
        ("function lines, median / p90 / longest", _spread(lengths), "5 / 14 / 50"),
        ("file lines, median / longest", f"{median(sizes):.0f} / {sizes[-1]}", ""),
    ]


def _rooms(modules: Mapping[str, Module]) -> str:
    return " / ".join(str(len(room_graph(modules, package))) for package in PACKAGES)


def _spread(lengths: list[int]) -> str:
    return f"{median(lengths):.0f} / {quantiles(lengths, n=10)[-1]:.0f} / {lengths[-1]}"


def reduced(arrows: Graph) -> dict[str, set[str]]:
    """Return the arrows without those that a longer way replaces (transitive reduction of a graph without circles)."""
    return {a: {b for b in arrows[a] if not any(b in _reach(c, arrows) for c in arrows[a] - {b})} for a in arrows}


def diagram(modules: Mapping[str, Module]) -> str:
    """Return a Mermaid drawing: the rooms of every package, and the arrows that no longer way replaces."""
    lines = ["graph TD"]
    for package in PACKAGES:
        arrows = reduced(room_graph(modules, package))
        lines.append(f"  subgraph {package}")
        lines += [f"    {room}[{room.partition('.')[2]}]" for room in sorted(arrows)]
        lines += [f"    {room} --> {other}" for room in sorted(arrows) for other in sorted(arrows[room])]
        lines.append("  end")
    packages = _grouped(file_graph(modules), {name: module.package for name, module in modules.items()})
    lines += [f"  {a} --> {b}" for a, targets in sorted(reduced(packages).items()) for b in sorted(targets)]
    return "\n".join(lines)


def with_diagram(text: str, drawing: str) -> str:
    """Return a Markdown text with its one Mermaid block replaced by `drawing`."""
    before, _, rest = text.partition(FENCE)
    return f"{before}{FENCE}\n{drawing}\n```{rest.partition('```')[2]}"


def main() -> None:
    """Print the figures, then what breaks a bar; with --draw, put today's diagram into ARCHITECTURE.md."""
    if sys.argv[1:] == ["--draw"]:
        page = ROOT / "ARCHITECTURE.md"
        page.write_text(with_diagram(page.read_text(), diagram(read_modules())))
    for name, value, bar in figures():
        sys.stdout.write(f"{name:<42}{value:<20}{bar}\n")
    modules = read_modules()
    for title, found in (
        ("import each other", mutual_pairs(folder_graph(modules))),
        ("in a circle", circles(file_graph(modules))),
        ("loose", loose_modules(modules)),
    ):
        for one in found:
            sys.stdout.write(f"{title}: {one}\n")


if __name__ == "__main__":
    main()
