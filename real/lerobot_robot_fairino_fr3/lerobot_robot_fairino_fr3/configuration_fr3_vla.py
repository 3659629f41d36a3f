"""Options of this project's policies in LeRobot, `--policy.type=fr3_vla --policy.checkpoint=DIR`."""

from dataclasses import dataclass
from typing import NoReturn

from lerobot.configs import PreTrainedConfig  # pyright: ignore[reportMissingImports]

from sim.core.errors import UserError


@PreTrainedConfig.register_subclass("fr3_vla")
@dataclass
class FR3VLAConfig(PreTrainedConfig):
    """checkpoint: a folder that policies.train wrote; LeRobot plays it, and does not train it."""

    checkpoint: str = ""
    indicator: str = "positive"  # advantage that the policy is conditioned on
    guidance: float | None = None  # RECAP's beta; None: the checkpoint's own
    execute: int | None = None  # steps played before looking again; None: the policy's own
    device: str | None = "cpu"
    push_to_hub: bool = False

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> None:
        return None

    @property
    def reward_delta_indices(self) -> None:
        return None

    def validate_features(self) -> None:
        """Check nothing: the policy knows its own."""

    def get_optimizer_preset(self) -> NoReturn:
        refuse_training()

    def get_scheduler_preset(self) -> NoReturn:
        refuse_training()


def refuse_training() -> NoReturn:
    """Raise UserError: LeRobot plays these policies alone."""
    raise UserError("policy.type=fr3_vla: LeRobot plays these policies; policies.train trains them")
