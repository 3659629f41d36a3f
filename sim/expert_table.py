"""The old name of `python -m sim.evaluate_expert`, for one release."""

from sim.core.deprecated import run_renamed

if __name__ == "__main__":
    run_renamed("sim.expert_table", "sim.evaluate_expert")
