"""Run `python -m real.parity`."""

from real.parity.parity import ParityConfig, main
from real.parity.parity import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("parity", ParityConfig, main, usage)
