"""Run `python -m rl.compare`."""

from rl.compare.compare import CompareConfig, main
from rl.compare.compare import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("compare", CompareConfig, main, usage)
