"""Run `python -m policies.benchmark`."""

from policies.benchmark.benchmark import PolicyBenchmarkConfig, main
from policies.benchmark.benchmark import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("policies_benchmark", PolicyBenchmarkConfig, main, usage)
