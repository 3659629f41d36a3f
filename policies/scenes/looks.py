"""Random scenes of several tasks, looked at once each and labelled, by worker processes into files of rows.

A chunk is of one task and one kind of randomization; chunk and number fix the seed of a scene, whoever draws it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from policies.eye.description import described_arm
from policies.processing.features import array_path, write_rows
from policies.scenes.labels import look_labels, things
from policies.scenes.poses import finish_steps, pose_at_random
from policies.scenes.sentences import foil, sentence_of
from sim.core.errors import UserError, nearest
from sim.core.files import write_atomic
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import Robot, RobotConfig
from sim.scene.build import RenderConfig
from sim.scene.shapes import SHAPES

CHUNK = 100  # scenes
SIDE = 192  # px
FIRST_SHARE = 0.4  # of the looks that are an episode's first
SUBTASK_SHARE = 0.6  # of a long task's scenes that show one of its steps
ONE_TASK_SHAPES = ("peg", "pillar")  # that stand in their tasks alone
CROWD = 3  # distractors at most
Row = dict[str, np.ndarray]


@dataclass(frozen=True)
class SceneConfig:
    """Which scenes are drawn."""

    tasks: tuple[str, ...]
    variants: tuple[RandomizeConfig, ...]
    split: SplitConfig = field(default_factory=SplitConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    first_seed: int = 2_000_000
    first_share: float = FIRST_SHARE
    subtask_share: float = SUBTASK_SHARE
    size: tuple[int, int] = (SIDE, SIDE)  # of images, (height, width)

    @property
    def unnamed(self) -> tuple[str, ...]:
        """Pairs of colour and kind that no sentence names."""
        return self.split.pairs if self.split.part == "train" else ()

    def choice(self, chunk: int) -> tuple[str, RandomizeConfig]:
        """Return the task and the randomization of a chunk: every pair in turn."""
        task = self.tasks[chunk % len(self.tasks)]
        return task, self.variants[chunk // len(self.tasks) % len(self.variants)]


def crowded(ranges: RandomizeConfig) -> RandomizeConfig:
    """Return the ranges with every shape, distractors and wordings of the grammar."""
    shapes = tuple(name for name in SHAPES if name not in ONE_TASK_SHAPES)
    return replace(ranges, shapes=shapes, distractor_shapes=shapes, distractors=(0, CROWD), paraphrase=0.5)


class SceneLooker:
    """Draws scenes and labels them."""

    def __init__(self, config: SceneConfig):
        self.config = config
        height, width = config.size
        self.render = RenderConfig(height=height, width=width)
        self._arm = described_arm(config.robot.load())

    def chunk(self, number: int) -> list[tuple[Row, str, str]]:
        """Return the rows, sentences and foils of one chunk."""
        world, rng = self._world(number), np.random.default_rng([number, 7])
        first = self.config.first_seed + CHUNK * number
        try:
            return [self.look(world, first + i, rng) for i in range(CHUNK)]
        finally:
            world.close()  # a world takes 100 MB, and less time to build than a tenth of a chunk

    def look(self, world: Simulation, seed: int, rng: np.random.Generator) -> tuple[Row, str, str]:
        """Return the row, sentence and foil of one scene."""
        world.reset(seed)
        sentence, step = sentence_of(world, rng, self.config.subtask_share)
        is_first, held = rng.random() < self.config.first_share, False
        if not is_first:
            if step is None:
                finish_steps(world, rng)
            held = pose_at_random(world, rng, step)
        here = things(world)
        named = here[(step or 0) % max(1, len(world.task.handled_objects))]  # one object in all, or one a step
        other, absent = foil(sentence, here, named, rng, self.config.unnamed)
        qpos = world.snapshot()
        images = np.stack([world.capture(camera, qpos, 0) for camera in world.robot.camera_names])
        flags = {"first": np.array(is_first), "held": np.array(held), "absent": absent}
        return (
            {"images": images, "state": world.state(), **flags, **look_labels(world, self._arm, step)},
            sentence,
            other,
        )

    def _world(self, number: int) -> Simulation:
        task, ranges = self.config.choice(number)
        return Simulation(SimulationConfig(task, ranges, self.render, self.config.split, self.config.robot))


def images_of(rows: Mapping[str, np.ndarray], robot: Robot, cameras: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the images (N, H, W, 3) of these cameras in stacked rows, which hold them in the robot's order; a policy
    has the order of its data. UserError for a camera that the robot lacks."""
    if missing := [camera for camera in cameras if camera not in robot.camera_names]:
        raise UserError(nearest(missing[0], robot.camera_names, "camera"))
    return {camera: rows["images"][:, robot.camera_names.index(camera)] for camera in cameras}


class ChunkWriter:
    """Writes chunks of scenes into a folder of row files, each at its place."""

    def __init__(self, config: SceneConfig, folder: Path):
        self._looker, self._folder = SceneLooker(config), folder

    def __call__(self, number: int) -> int:
        looks = self._looker.chunk(number)
        for name in looks[0][0]:
            rows = np.stack([row[name] for row, _, _ in looks])
            array_path(self._folder, name).touch()
            write_rows(array_path(self._folder, name), rows, CHUNK * number)
        lines = [[sentence, other] for _, sentence, other in looks]
        write_atomic(self._folder / f"sentences-{number:06d}.json", json.dumps(lines).encode())
        return number
