"""Run `python -m policies.compare`."""

from policies.compare.compare import CompareConfig, main
from policies.compare.compare import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("policies_compare", CompareConfig, main, usage)
