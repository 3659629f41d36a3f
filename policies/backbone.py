"""The old name of `python -m policies.pretrain_grounding`, for one release."""

from sim.core.deprecated import run_renamed

if __name__ == "__main__":
    run_renamed("policies.backbone", "policies.pretrain_grounding")
