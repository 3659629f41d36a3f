"""Run `python -m sim.guard_benchmark`."""

from sim.core.program import run_program
from sim.guard_benchmark.guard_benchmark import GuardBenchmarkConfig, main
from sim.guard_benchmark.guard_benchmark import __doc__ as usage

if __name__ == "__main__":
    run_program("guard_benchmark", GuardBenchmarkConfig, main, usage)
