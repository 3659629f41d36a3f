"""`python -m policies.evaluate_eye [eye=assets/eye] [checkpoint=CKPT] [task=all] [scenes=200] [split=...]`

Looks at fresh scenes and measures how far off the named things are found, horizontally, at an episode's first look and
later, and whether the eye's own estimate covers it. Half of the looks are first ones. Of a task of several steps one
step is asked for, which names its things. Sentences that name something which is not on the table are asked as well:
their points are to be flagged.
"""

import functools
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from policies.core.interface import Policy
from policies.eye_training.errors import Errors, by_task, report
from policies.eye_training.held_out import FIRST_SEED, FIRST_SHARE
from policies.eye_training.load import policy_or_eye
from policies.eye_training.turn import is_turned, off_deg
from policies.fusion.eye import NOWHERE_M, EyeFusionConfig
from policies.processing.observation import ObservationProcessor
from policies.scenes.looks import CHUNK, SceneConfig, SceneLooker, images_of
from sim.core.console import track
from sim.core.contract import TURN_NAMES
from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.options import RESULTS_FOLDER, SEED, OneOf, at_least, block, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.parallel.worker_config import WorkerConfig
from sim.parallel.workers import map_seeds
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig
from sim.tasks.base import single_step_tasks

ALL = "all"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EvaluateEyeConfig(WorkerConfig):
    """Options of the program."""

    eye: str = option("assets/eye", "a pretrained eye or fusion; used where no checkpoint is named")
    checkpoint: str | None = option(None, "a policy whose eye is measured")
    task: str = option(
        ALL, "whose things are to be found; all: every task of single steps in turn", OneOf((ALL, *single_step_tasks()))
    )
    scenes: int = option(200, "of each task, rounded up to whole hundreds", at_least(1))
    seed: int = option(FIRST_SEED, "of the first scene: far from those that eyes are pretrained on", SEED)
    without: str = option("", "a camera to leave out")
    out: str | None = option(None, "where the results go; null: nowhere", RESULTS_FOLDER)
    randomize: RandomizeConfig = block(RandomizeConfig, "how scenes differ")
    split: SplitConfig = block(SplitConfig, "what is held out, and which scenes are drawn")
    robot: RobotConfig = block(RobotConfig, "the arm")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.without and self.without not in (names := self.robot.load().camera_names):
            raise UserError(f"without={self.without}: expected one of {', '.join(names)}")

    @property
    def tasks(self) -> tuple[str, ...]:
        return single_step_tasks() if self.task == ALL else (self.task,)

    @property
    def policy(self) -> Policy:
        return policy_or_eye(self.checkpoint, self.eye, self.robot.load())


class EyeWorker:
    """Draws chunks of looks and measures the eye on them."""

    def __init__(self, config: EvaluateEyeConfig):
        torch.set_num_threads(1)
        self._config, policy = config, config.policy
        self._policy, self._processor = policy, ObservationProcessor(policy)
        scenes = SceneConfig(
            config.tasks, (config.randomize,), config.split, config.robot, config.seed, FIRST_SHARE,
            subtask_share=1.0, size=policy.spec.image_size,
        )  # fmt: skip
        self._looker = SceneLooker(scenes)

    def __call__(self, number: int) -> Errors:
        looks = self._looker.chunk(number)
        rows = {name: np.stack([row[name] for row, _, _ in looks]) for name in looks[0][0]}
        asked = self._found(rows, [sentence for _, sentence, _ in looks])
        foils = [other or sentence for _, sentence, other in looks]
        regions = self._found(rows, foils)[1]
        turn_deg = np.where(is_turned(rows["turn"]), off_deg(asked[2], torch.from_numpy(rows["turn"])), np.nan)
        off_mm = 1e3 * np.linalg.norm((asked[0] - rows["points_b"])[..., :2], axis=-1)
        task, _ = self._looker.config.choice(number)
        foil_mm = np.where(rows["absent"], 1e3 * regions, np.nan)
        return Errors(np.array([task] * len(looks)), rows["first"], off_mm, 1e3 * asked[1], foil_mm, turn_deg)

    @torch.no_grad()
    def _found(self, rows: dict[str, np.ndarray], sentences: list[str]) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
        """Return points (N, R, 3) m in the base frame, regions (N, R) m and turns (N, R, 4); nan: not found."""
        cameras = [camera for camera in self._policy.spec.cameras if camera != self._config.without]
        images = images_of(rows, self._config.robot.load(), cameras)
        inputs = self._processor.inputs(images, rows["state"], sentences)
        points = inputs.points if inputs.points is not None else self._policy.fusion(inputs).points  # type: ignore[attr-defined]
        regions = points[:, :2, 3] if points.shape[-1] > 3 else torch.full_like(points[:, :2, 0], torch.nan)
        turn = torch.full((len(points), 2, len(TURN_NAMES)), torch.nan) if inputs.turn is None else inputs.turn
        return points[:, :2, :3].numpy(), regions.numpy(), turn


def evaluate_eye(config: EvaluateEyeConfig) -> dict:
    """Look at all scenes; return what is printed."""
    fusion = getattr(config.policy.config, "fusion", None)  # a wrong one is an error here, not in a worker
    if config.without and not isinstance(getattr(fusion, "finder", None) or fusion, EyeFusionConfig):
        raise UserError(f"without={config.without}: an eye alone looks without a camera")
    chunks = range(len(config.tasks) * -(-config.scenes // CHUNK))
    measured = map_seeds(functools.partial(EyeWorker, config), chunks, config)
    errors = Errors.joined(list(track(measured, "looking", total=len(chunks))))
    tables = by_task(errors, 1e3 * NOWHERE_M)
    if config.out:
        content = {"tasks": tables, **provenance({"config": config})}
        write_atomic(Path(config.out) / "eye.json", json.dumps(content, indent=1).encode())
    _log.info("horizontal error, mm, median / 95 %%\n%s", report(tables))
    return tables


if __name__ == "__main__":
    run_program("evaluate_eye", EvaluateEyeConfig, evaluate_eye, __doc__)
