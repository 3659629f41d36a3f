"""Run `python -m real.soak`."""

from real.soak.soak import SoakConfig, main
from real.soak.soak import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("soak", SoakConfig, main, usage)
