"""What LeRobot does before and after a policy of this project: it makes a batch. The policy normalizes by itself."""

from typing import Any

from lerobot.processor import (  # pyright: ignore[reportMissingImports]
    AddBatchDimensionProcessorStep,
    RenameObservationsProcessorStep,
)
from lerobot.processor.factory import make_policy_processor_pipelines  # pyright: ignore[reportMissingImports]

from lerobot_robot_fairino_fr3.configuration_fr3_vla import FR3VLAConfig


def make_fr3_vla_pre_post_processors(config: FR3VLAConfig, dataset_stats: dict | None = None) -> tuple[Any, Any]:
    """Return the pipelines. LeRobot finds the function by its name and passes both, which are not needed."""
    del config, dataset_stats
    return make_policy_processor_pipelines(
        [RenameObservationsProcessorStep(rename_map={}), AddBatchDimensionProcessorStep()], []
    )
