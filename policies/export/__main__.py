"""Run `python -m policies.export`."""

from policies.export.export import ExportConfig, main
from policies.export.export import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("policies_export", ExportConfig, main, usage)
