"""`python -m policies.pretrain_grounding [scenes=32000] [optim.steps=5000] [out=assets/fusion]`

Pretrains a fusion on grounding alone, from images of the simulator, so that a policy starts from it
as SmolVLA starts from SmolVLM2. It learns where the named things are; no action is seen.
"""

import functools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policies.core.inputs import Inputs, TensorGroup
from policies.core.interface import PolicyConfig
from policies.core.parts import Fusion, JointConfig, grounding_loss
from policies.core.spec import PolicySpec
from policies.fusion.pretrained_fusion import save_fusion
from policies.models.vla import Vla, VlaConfig
from policies.processing.features import cached_inputs, feature_arrays
from policies.processing.observation import ObservationProcessor
from policies.scenes.poses import pose_at_random
from policies.training.loop import STATE, Log, train
from policies.training.optim import OptimConfig
from policies.training.trainer import Trainer
from sim.core.console import track
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.core.options import FOLDER, at_least, block, one_of, option
from sim.core.program import run_program
from sim.core.provenance import plain, provenance
from sim.core.tracker import KINDS, NoTracker, Tracker, open_tracker
from sim.envs.simulation import Simulation, SimulationConfig
from sim.parallel.worker_config import WorkerConfig
from sim.parallel.workers import map_seeds

SCENES_PER_CALL = 40
NEAR_M = 0.12
FIRST_SEED = 2_000_000  # far from every demonstration, rollout and evaluation
HELD_OUT_SHARE = 0.05  # of the scenes, the last ones

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PretrainGroundingConfig(SimulationConfig, WorkerConfig):
    """Options of the program."""

    scenes: int = option(32000, "to look at, once each", at_least(SCENES_PER_CALL))
    out: str = option("assets/fusion", "weights and card", FOLDER)
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))
    policy: PolicyConfig = block(VlaConfig, "whose fusion is trained")
    optim: OptimConfig = block(
        lambda: OptimConfig(steps=5000, learning_rate=1.5e-3, warmup_steps=250), "how it is trained"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.split.check_training()

    def build(self) -> Vla:
        """Build the policy whose fusion is pretrained. UserError when that finds no points."""
        policy = self.policy.build(PolicySpec.of(self.robot.load(), (self.render.height, self.render.width)))
        fixed = policy.condenses or policy.requires_pretrained or policy.needs.goal
        if not isinstance(policy, Vla) or "points" not in policy.fusion.gives or fixed:
            raise UserError(
                "grounding pretraining needs a fusion that learns to find points, without a picture of the goal or a "
                "finder; give policy=small, or policy.fusion.finder=null"
            )
        if isinstance(self.policy, VlaConfig) and isinstance(self.policy.vision, JointConfig):
            raise UserError(
                f"grounding pretraining keeps words apart from images, policy.vision.name={self.policy.vision.name} "
                "reads them together; give policy=small"
            )
        return policy


# ---- looking at scenes -------------------------------------------------------------------------


@dataclass
class Looks:
    """Random scenes seen once each; N of them."""

    features: dict[str, np.ndarray]  # (N, ...) as `feature_arrays` names them
    state: np.ndarray  # (N, D)
    points: np.ndarray  # (N, G, 3) m, ground truth
    instructions: list[str]


class GroundingLooker:
    """Sets up random scenes, the arm anywhere and the object sometimes held, and looks once."""

    def __init__(self, config: PretrainGroundingConfig):
        self._world = Simulation(config.world)
        self._processor = ObservationProcessor(config.build())

    def __call__(self, seed: int) -> Looks:
        rng = np.random.default_rng([seed, 7])
        seen, states, points, instructions = [], [], [], []
        for i in range(SCENES_PER_CALL):
            self._world.reset(FIRST_SEED + SCENES_PER_CALL * seed + i)
            pose_at_random(self._world, rng, None)
            qpos = self._world.snapshot()
            seen.append([self._world.capture(camera, qpos, 0) for camera in self._world.robot.camera_names])
            states.append(self._world.state())
            truth = self._world.ground_truth()
            points.append(np.stack([truth[name] for name in GROUNDING_COLUMNS]))
            instructions.append(self._world.instruction)
        images = {c: np.stack([row[i] for row in seen]) for i, c in enumerate(self._world.robot.camera_names)}
        inputs = self._processor.inputs(images, np.stack(states), instructions)
        return Looks(feature_arrays(inputs), np.stack(states), np.stack(points), instructions)


def gather(config: PretrainGroundingConfig) -> list[Looks]:
    """Look at `config.scenes` scenes."""
    calls = range(round(config.scenes / SCENES_PER_CALL))
    looks = map_seeds(functools.partial(GroundingLooker, config), calls, config)
    return list(track(looks, "looking at scenes", total=len(calls)))


# ---- learning from them ------------------------------------------------------------------------


@dataclass
class GroundingBatch(TensorGroup):
    """Frames and where the named things are in them."""

    inputs: Inputs
    points: torch.Tensor  # (B, G, 3) m


class GroundingTable:
    """All looks in a row; the last ones are held out."""

    def __init__(self, looks: list[Looks], processor: ObservationProcessor):
        names = looks[0].features
        self.features = {name: np.concatenate([look.features[name] for look in looks]) for name in names}
        self.state = np.concatenate([look.state for look in looks])
        self.points = np.concatenate([look.points for look in looks])
        instructions = [sentence for look in looks for sentence in look.instructions]
        sentences, self.sentence = np.unique(instructions, return_inverse=True)
        self.words, self.mask = processor.words(sentences.tolist())
        count, held = len(self.state), round(HELD_OUT_SHARE * len(self.state))
        self.rows, self.held_out = np.arange(count - held), np.arange(count - held, count)

    def sample(self, rng: np.random.Generator, size: int) -> GroundingBatch:
        """Return a random batch of looks that are not held out."""
        return self.batch(rng.choice(self.rows, size))

    def batch(self, rows: np.ndarray) -> GroundingBatch:
        """Return these looks."""
        inputs = cached_inputs({name: array[rows] for name, array in self.features.items()}, self.state[rows])
        inputs.words, inputs.word_mask = (part[self.sentence[rows]] for part in (self.words, self.mask))
        return GroundingBatch(inputs, torch.from_numpy(self.points[rows]))


@torch.no_grad()
def errors_m(fusion: Fusion, batch: GroundingBatch) -> np.ndarray:
    """Return (B, G) horizontal distances of the points found from the truth, m."""
    return (fusion(batch.inputs).points - batch.points)[..., :2].norm(dim=-1).numpy()


def pretrain(config: PretrainGroundingConfig, tracker: Tracker | None = None) -> Path:
    """Look at scenes, train the fusion on grounding, write weights and card to `config.out`."""
    out = Path(config.out)
    torch.manual_seed(config.optim.seed)
    policy = config.build()
    table = GroundingTable(gather(config), ObservationProcessor(policy))
    fusion = policy.fusion
    fusion.fit_points(torch.from_numpy(table.points[table.rows]))

    def loss(batch: GroundingBatch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        del generator  # grounding draws nothing
        error = grounding_loss(fusion(batch.inputs).points, batch.points)
        return error, {"grounding": error.detach()}

    trainer = Trainer(fusion, loss, config.optim)
    trainer.made_of = made_of(config)
    train(trainer, table.sample, out, Log(tracker or NoTracker()))
    averaged = trainer.averaged()
    card = describe(averaged, table, config)
    save_fusion(out, averaged.state_dict(), card)
    (out / STATE).unlink(missing_ok=True)
    _log.info("held-out error, mm: %s", card["horizontal_error_mm"])
    _log.info("within %s m of the tool: %s; %s", NEAR_M, card["horizontal_error_near_mm"], out)
    return out


def made_of(config: PretrainGroundingConfig) -> dict[str, Any]:
    """Return what a resumed pretraining keeps to, by the name that an error gives it."""
    policy = {f"policy.{name}": value for name, value in plain(config.policy).items()}
    return {"scenes": config.scenes, **plain(config.world), **policy}


def describe(fusion, table: GroundingTable, config: PretrainGroundingConfig) -> dict:
    """Return the card: what the fusion was made of and how far off it is on held-out scenes."""
    held = table.held_out
    parts = np.array_split(held, max(len(held) // 256, 1))
    errors_mm = 1e3 * np.concatenate([errors_m(fusion, table.batch(part)) for part in parts])
    return {
        "what": "fusion of a policy, pretrained on grounding from simulator images alone",
        "licence": "Apache-2.0, made by `python -m policies.pretrain_grounding`",
        "held_out_frames": len(held),
        "horizontal_error_mm": _summary(errors_mm),
        "horizontal_error_near_mm": _summary(np.where(_near(table.points[held]), errors_mm, np.nan)),
        "fusion": plain(fusion.config),
        **provenance({"config": config}),
    }


def _near(points: np.ndarray) -> np.ndarray:
    """points (N, G, 3) m -> (N, G) bool: the thing is near the tool."""
    distance = {
        name.removesuffix("_t"): np.linalg.norm(points[:, i], axis=-1) < NEAR_M
        for i, name in enumerate(GROUNDING_COLUMNS)
        if name.endswith("_t")
    }
    return np.stack([distance[name[:-2]] for name in GROUNDING_COLUMNS], 1)


def _summary(errors_mm: np.ndarray) -> dict[str, dict[str, float]]:
    """Return median and 90 % of each point's errors (N, G), nan left out."""
    percents = {"median": 50, "p90": 90}
    return {
        name: {of: round(float(np.nanpercentile(errors_mm[:, i], percent)), 1) for of, percent in percents.items()}
        for i, name in enumerate(GROUNDING_COLUMNS)
    }


def main(config: PretrainGroundingConfig) -> None:
    """Pretrain, tracked."""
    with open_tracker(config.tracker, config.out, config) as tracker:
        pretrain(config, tracker)


if __name__ == "__main__":
    run_program("pretrain_grounding", PretrainGroundingConfig, main, __doc__)
