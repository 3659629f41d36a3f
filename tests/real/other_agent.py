"""A program whose `policies.runtime.agent` is another one: the rest of `policies` stays the product's."""

from pathlib import Path

# This folder is searched first; what is not in it is found where the package is installed.
PACKAGE = "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n"


def write_agent(folder: Path, text: str) -> None:
    """Write `text` where a program that has `folder` first on its path imports `policies.runtime.agent`."""
    runtime = folder / "policies" / "runtime"
    runtime.mkdir(parents=True)
    for package in (runtime.parent, runtime):
        (package / "__init__.py").write_text(PACKAGE)
    (runtime / "agent.py").write_text(text)
