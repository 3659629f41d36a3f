"""`python -m sim.doctor`: what this machine has for the project, what is missing, and the line that installs it.

Exit code 1 when something that is needed is missing.
"""

import logging
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sim.core.errors import UserError, leave_without_environment, reason
from sim.render.gl import remedy
from sim.render.vulkan import check_vulkan

_log = logging.getLogger(__name__)

try:
    from packaging.requirements import Requirement
    from rich.table import Table

    from sim.core import console  # which needs rich too
except ModuleNotFoundError as _error:
    leave_without_environment(_error.name)

PROJECT = "fr3-vla"
INSTALL = 'python -m pip install -e ".[dev]"'
TOLD = ("mujoco", "torch", "numpy")  # versions that results depend on
NEEDED_DISK_GB, NEEDED_MEMORY_GB = 10, 6


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `remedy` is "" when it is as it should be."""

    name: str
    found: str
    remedy: str = ""


def look_at_python() -> Finding:
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("Python", platform.python_version(), "" if good else "apt-get install -y python3.11 python3.11-venv")


def look_at_packages() -> list[Finding]:
    """Check every requirement of the project that is not extra, against what is installed."""
    wrong = []
    try:
        wanted = [Requirement(line) for line in metadata.requires(PROJECT) or []]
    except metadata.PackageNotFoundError:
        return [Finding(PROJECT, f"not installed in {sys.prefix}", "make setup, then . .venv/bin/activate")]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(Finding(requirement.name, "not installed", f"python -m pip install '{requirement}'"))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found = f"{version}, expected {requirement.specifier}"
            wrong.append(Finding(requirement.name, found, f"python -m pip install '{requirement}'"))
    versions = [Finding(name, metadata.version(name)) for name in TOLD]
    return wrong or [Finding("packages", f"all {len(wanted)} as required"), *versions]


def look_at_drawing() -> Finding:
    """Draw the scene and time it."""
    name = f"drawing ({os.environ.get('MUJOCO_GL', 'default')})"
    try:
        from sim.envs.simulation import Simulation  # needs MuJoCo, which may be what is missing

        world = Simulation()
        world.reset(0)
        camera = world.robot.camera_names[0]
        images = [world.render(camera) for _ in range(3)]
        begun = time.perf_counter()
        images += [world.render(camera) for _ in range(20)]
        took = time.perf_counter() - begun
        world.close()
    except UserError as error:
        return Finding(name, str(error), remedy())
    except ImportError as error:
        return Finding(name, str(error), INSTALL)
    except Exception as error:  # noqa: BLE001 - drivers raise anything
        return Finding(name, reason(error), remedy())
    if images[-1].std() < 1:
        return Finding(name, "images are empty", remedy())
    return Finding(name, f"{len(images[3:]) / took:.0f} images of 96 px a second")


def look_at_vulkan() -> Finding:
    """Check for Vulkan; only `renderer=filament` needs it, so nothing is wrong without it."""
    try:
        check_vulkan()
    except UserError as error:
        return Finding("drawing (filament)", f"not possible, not needed otherwise: {error}")
    return Finding("drawing (filament)", "Vulkan is there")


def look_at_machine(folder: Path = Path()) -> list[Finding]:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    free_gb = shutil.disk_usage(folder).free / 2**30
    return [
        Finding("cores", str(len(os.sched_getaffinity(0)))),
        Finding("memory", f"{memory_gb:.0f} GB", _at_least(memory_gb, NEEDED_MEMORY_GB, "of memory")),
        Finding("disk", f"{free_gb:.0f} GB free", _at_least(free_gb, NEEDED_DISK_GB, "free; remove old runs/")),
    ]


def _at_least(found_gb: float, needed_gb: float, what: str) -> str:
    return "" if found_gb >= needed_gb else f"expected at least {needed_gb:.0f} GB {what}"


def examine() -> list[Finding]:
    return [look_at_python(), *look_at_packages(), *look_at_machine(), look_at_drawing(), look_at_vulkan()]


def main() -> None:
    """Print the findings; with --help what this program is for."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(f"{(__doc__ or '').strip()}\n")
        return
    findings = examine()
    table = Table("", "found", "what to do")
    for finding in findings:
        table.add_row(finding.name, finding.found, finding.remedy or "-")
    console.set_up()
    _log.info("what was found", extra=console.table("found", table, findings=[vars(one) for one in findings]))
    wrong = [finding.name for finding in findings if finding.remedy]
    _log.info("%s", f"missing: {', '.join(wrong)}" if wrong else "everything is there")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
