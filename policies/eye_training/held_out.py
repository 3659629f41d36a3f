"""How far off a policy finds things, while it is trained, on scenes that no training sees.

Few demonstrations can unteach what pretraining on thousands of scenes taught.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from policies.core.interface import Policy
from policies.eye_training.errors import ROLES
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import Vla
from policies.processing.data import EpisodeTable, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.scenes.looks import SceneConfig, SceneLooker, images_of
from policies.training.curriculum import Curriculum
from policies.training.fit import fit
from policies.training.loop import MEASURE_EVERY, Log
from policies.training.optim import OptimConfig
from policies.training.ranks import rank
from policies.training.trainer import Loss
from sim.core.errors import UserError
from sim.core.structured import typed
from sim.core.tracker import Tracker
from sim.envs.simulation import SimulationConfig

FIRST_SEED = 950_000_000  # far from those that eyes are pretrained on
FIRST_SHARE = 0.5  # of the looks that are an episode's first
WORSE = 1.2  # times what it was at first
_log = logging.getLogger(__name__)


class HeldOutScenes:
    """A hundred scenes of each task of some datasets, half of them as an episode begins."""

    def __init__(self, policy: Vla, worlds: Sequence[SimulationConfig]):
        """Draw the scenes, encode them, and measure `policy` as it is now."""
        size = policy.spec.image_size
        looks = [look for world in worlds for look in _looker(world, size).chunk(0)]
        rows = {name: np.stack([row[name] for row, *_ in looks]) for name in ("images", "state", "points_b")}
        images = images_of(rows, worlds[0].robot.load(), policy.spec.cameras)
        processor = ObservationProcessor(policy)
        self._inputs = processor.inputs(images, rows["state"], [sentence for _, sentence, _ in looks])
        self._points_b = torch.from_numpy(rows["points_b"])
        self.start = self(policy)
        _log.info("held-out scenes, median error at first: %s", _named(self.start))

    @torch.no_grad()
    def __call__(self, policy: Vla) -> dict[str, float]:
        """Return the median horizontal error of each role, mm."""
        off_m = (policy.fusion(self._inputs).points[:, :2] - self._points_b)[..., :2].norm(dim=-1)
        return {f"eye_{role}_mm": round(1e3 * float(off_m[:, r].median()), 2) for r, role in enumerate(ROLES)}

    def report(self, policy: Vla) -> None:
        """Log how far off it is now, a warning where it has become worse."""
        now = self(policy)
        worse = [name for name in now if now[name] > WORSE * self.start[name]]
        level, what = (logging.WARNING, "the eye got worse than it started") if worse else (logging.INFO, "the eye")
        _log.log(level, "%s on held-out scenes, median error: %s, at first %s", what, _named(now), _named(self.start))


def fit_measured(
    policy: Policy, data: TrainingData | Curriculum, config: OptimConfig, out: Path, metadata: CheckpointMetadata,
    tracker: Tracker, loss: Loss | None = None,
) -> Policy:  # fmt: skip
    """Train as `policies.training.fit.fit`; where the policy learns to find things and there are so many steps, measure
    it on held-out scenes every MEASURE_EVERY of them, the first of several processes alone."""
    measured = config.steps >= MEASURE_EVERY and not rank()
    scenes = held_out_scenes(policy, data.tables) if measured else None
    trained = fit(policy, data, config, out, metadata, Log(tracker, scenes), loss)
    if scenes and isinstance(trained, Vla):
        scenes.report(trained)
    return trained


def held_out_scenes(policy: object, tables: Sequence[EpisodeTable]) -> HeldOutScenes | None:
    """Return scenes like those of the datasets; None where points are not learned, a look has
    a picture of the goal, or no dataset is of a simulation."""
    if not isinstance(policy, Vla) or policy.needs.goal:
        return None
    if policy.fusion.tells_points or "points" not in policy.fusion.gives:  # by what is frozen, or by nothing
        return None
    worlds = {world.task: world for world in _worlds(tables)}
    return HeldOutScenes(policy, list(worlds.values())) if worlds else None


def _worlds(tables: Sequence[EpisodeTable]) -> Iterator[SimulationConfig]:
    for table in tables:
        made_in = table.dataset.provenance.get("world", {})
        if "randomize" not in made_in:
            continue
        try:
            yield typed(SimulationConfig, made_in, "world.")
        except UserError as error:
            root = table.dataset.root
            _log.warning("%s is of another version, so nothing is measured on scenes like its own: %s", root, error)


def _looker(world: SimulationConfig, size: tuple[int, int]) -> SceneLooker:
    return SceneLooker(
        SceneConfig((world.task,), (world.randomize,), world.split, world.robot, FIRST_SEED, FIRST_SHARE, size=size)
    )


def _named(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{name.split('_')[1]} {mm:g} mm" for name, mm in errors.items())
