"""Run `python -m real.rollout`."""

from real.rollout.rollout import RolloutConfig, main
from real.rollout.rollout import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("rollout", RolloutConfig, main, usage)
