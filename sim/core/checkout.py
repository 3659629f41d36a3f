"""Another checkout of this repository, whose programs are run as a user runs them: to measure one beside the other."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sim.core.errors import UserError

OWN = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Checkout:
    """A folder that holds the four packages; its programs run with this Python and its packages."""

    root: Path

    def __post_init__(self) -> None:
        if not (self.root / "sim" / "__init__.py").is_file():
            raise UserError(f"{self.root} is no checkout of this repository: it has no sim/__init__.py")

    @classmethod
    def own(cls) -> "Checkout":
        """Return the checkout that this code is of."""
        return cls(OWN)

    def run(self, program: str, *words: str) -> str:
        """Run `python -m PROGRAM WORDS`; return what it printed. UserError with its last line when it fails."""
        return self._python(program, "-m", program, *words)

    def run_script(self, script: Path, *words: str) -> str:
        """Run `python SCRIPT WORDS` where imports find this checkout; return and raise as `run` does."""
        return self._python(script.name, str(script), *words)

    def _python(self, name: str, *words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(self.root.resolve()), "PYTHONSAFEPATH": "1"}
        done = subprocess.run([sys.executable, *words], cwd=self.root, env=environment, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it printed nothing"]
            raise UserError(f"{name} of {self.root} ended with exit code {done.returncode}: {lines[-1]}")
        return done.stdout
