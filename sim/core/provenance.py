"""What a result was made of: configuration, git commit, versions. Written into every output directory."""

import dataclasses
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from sim.core.contract import CONTRACT_VERSION
from sim.core.paths import CHECKOUT

PACKAGES = ("mujoco", "torch", "numpy", "ruckig", "onnxruntime")


def provenance(values: dict) -> dict:
    """Return `values` (dataclasses allowed) with the contract version, git commit and package versions."""
    return {
        **{name: plain(value) for name, value in values.items()},
        "contract": CONTRACT_VERSION,
        "git": git_commit(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def plain(value: Any) -> Any:
    """Return dataclasses, tuples and paths as JSON has them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def git_commit() -> str:
    """Return the commit of this checkout, with "+" when files were changed; "" outside git."""
    if CHECKOUT is None:  # a virtual environment may lie inside somebody else's repository
        return ""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if dirty.stdout.strip() else "")
