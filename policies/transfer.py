"""The old name of `python -m policies.robustness`, for one release."""

from sim.core.deprecated import run_renamed

if __name__ == "__main__":
    run_renamed("policies.transfer", "policies.robustness")
