"""Run `python -m sim.benchmark`."""

from sim.benchmark.benchmark import BenchmarkConfig, main
from sim.benchmark.benchmark import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("sim_benchmark", BenchmarkConfig, main, usage)
