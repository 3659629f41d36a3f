"""Run `python -m real.calibrate`."""

from real.calibrate.calibrate import CalibrateConfig, main
from real.calibrate.calibrate import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("calibrate", CalibrateConfig, main, usage)
