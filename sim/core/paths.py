"""Where the project's own files lie: beside the code in a checkout, inside the package in an installed wheel.

A wheel carries `conf/` and `assets/` in `sim/_data` (pyproject.toml); a checkout never has that folder.
"""

from pathlib import Path

from sim.core.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
PACKAGED = _PACKAGE / "_data"
CHECKOUT = None if PACKAGED.is_dir() or not (_PACKAGE.parent / "pyproject.toml").is_file() else _PACKAGE.parent
DATA = CHECKOUT or PACKAGED
CONF, ASSETS = DATA / "conf", DATA / "assets"


def check_data() -> None:
    """Raise UserError when this installation lacks the project's own files."""
    for folder in (CONF, ASSETS):
        if not folder.is_dir():
            raise UserError(
                f"this installation of fr3-vla has no {folder}; install a wheel made with `make wheel`, "
                "or the repository with `pip install -e .`"
            )


def find_asset(path: str | Path) -> Path:
    """Return `path` as given; where it is a relative `assets/...` that the current folder lacks, the project's own."""
    path = Path(path)
    if path.is_absolute() or path.exists() or path.parts[:1] != ("assets",):
        return path
    return DATA / path
