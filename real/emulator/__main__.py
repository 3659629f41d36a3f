"""Run `python -m real.emulator`."""

from real.emulator.emulator import EmulatorConfig, main
from real.emulator.emulator import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("emulator", EmulatorConfig, main, usage)
