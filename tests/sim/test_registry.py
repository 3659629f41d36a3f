"""Registries and plug-ins: parts are found by name wherever they were registered."""

import subprocess
import sys
from pathlib import Path

import pytest

from sim.core import plugins
from sim.core.errors import UserError
from sim.core.registry import Registry
from sim.parallel.workers import WorkerConfig, map_seeds

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """A folder on Python's path whose modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_loaded", [])
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_part_is_found_by_its_name_and_a_wrong_name_says_the_nearest():
    fruit: Registry[type] = Registry("fruit")

    @fruit.register("apple")
    class Apple:
        pass

    fruit.register("pear")(int)
    assert fruit.get("apple") is Apple
    assert fruit.names() == ("apple", "pear")
    assert "apple" in fruit and "plum" not in fruit
    with pytest.raises(UserError, match=r"unknown fruit 'aple', expected one of 'apple', 'pear'; did you mean 'apple'"):
        fruit.get("aple")


def test_a_name_belongs_to_one_part():
    fruit: Registry[type] = Registry("fruit")
    fruit.register("apple")(int)
    fruit.register("apple")(int)  # the same module imported again
    with pytest.raises(UserError, match="'apple' is registered twice, by builtins.int and builtins.str"):
        fruit.register("apple")(str)


def test_the_modules_of_a_package_register_themselves_at_the_first_look_up(on_path):
    package = on_path / "orchard"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from sim.core.registry import Registry\nFRUIT = Registry('fruit', __name__)\n"
    )
    (package / "cherry.py").write_text("from orchard import FRUIT\nFRUIT.register('cherry')(object())\n")
    from orchard import FRUIT  # pyright: ignore[reportMissingImports]

    assert "orchard.cherry" not in sys.modules
    assert FRUIT.names() == ("cherry",)


def test_a_plug_in_that_cannot_be_imported_is_one_line(on_path):
    with pytest.raises(UserError, match=r"plugins=\[no_such_module\]: cannot import 'no_such_module'"):
        plugins.load_plugins(["no_such_module"])
    (on_path / "half_module.py").write_text("import not_there_at_all\n")
    with pytest.raises(UserError, match="'half_module': No module named 'not_there_at_all'"):
        plugins.load_plugins(["half_module"])
    assert plugins.loaded_plugins() == ()


class AskWhatIsLoaded:
    """A worker that answers with the plug-ins of its process."""

    def __call__(self, seed: int) -> tuple[int, bool]:
        return seed, "cherry_plugin" in sys.modules


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_load_what_the_program_loaded(on_path, workers):
    (on_path / "cherry_plugin.py").write_text("")
    plugins.load_plugins(["cherry_plugin"])
    assert plugins.loaded_plugins() == ("cherry_plugin",)
    assert list(map_seeds(AskWhatIsLoaded, range(2), WorkerConfig(workers))) == [(0, True), (1, True)]


def test_an_installed_distribution_registers_through_its_entry_point(tmp_path):
    (tmp_path / "cherry_plugin.py").write_text(
        "from cherry_registry import FRUIT\nFRUIT.register('cherry')(object())\n"
    )
    (tmp_path / "cherry_registry.py").write_text("from sim.core.registry import Registry\nFRUIT = Registry('fruit')\n")
    info = tmp_path / "cherry-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cherry\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\ncherry = cherry_plugin\n")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; from cherry_registry import FRUIT; print(FRUIT.names())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('cherry',)"
