"""Run `python -m policies.report`."""

from policies.report.report import ReportConfig, write_report
from policies.report.report import __doc__ as usage
from sim.core.program import run_program

if __name__ == "__main__":
    run_program("report", ReportConfig, write_report, usage)
