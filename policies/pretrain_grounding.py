"""`python -m policies.pretrain_grounding [scenes=32000] [steps=5000] [out=assets/fusion]`

The fusion backbone that ships with the project: pretrained on grounding alone, from pictures of the
simulator, so that a policy starts from it as SmolVLA starts from SmolVLM2. It learns where the
named cube and the named plate are; no action is seen.
"""

import functools
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from policies.language.minilm import FrozenText
from policies.models.small_vla import SmallVla, VlaConfig
from policies.vision.efficientnet import FrozenVision
from sim.core.console import track
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.core.program import run_program
from sim.core.provenance import plain, provenance
from sim.core.structured import typed
from sim.envs.simulation import Simulation, SimulationConfig
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.planning.kinematics import tool_down
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.scene.build import RenderConfig

_log = logging.getLogger(__name__)

WEIGHTS, CARD = "fusion.safetensors", "card.json"
SCENES_PER_CALL = 40
NEAR_M = 0.12
FIRST_SEED = 2_000_000  # far from every demonstration, rollout and evaluation


@dataclass(frozen=True)
class PretrainGroundingConfig:
    """Options of the program."""

    scenes: int = 32000
    steps: int = 5000
    batch: int = 128
    learning_rate: float = 1.5e-3
    out: str = "assets/fusion"
    workers: int = 2
    task: str = "pick_place"
    policy: VlaConfig = field(default_factory=VlaConfig)
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    split: SplitConfig = field(default_factory=SplitConfig)

    def __post_init__(self) -> None:
        self.split.check_training()


@dataclass
class Looks:
    """What one worker call saw: n scenes, a frame each."""

    maps: dict[str, tuple[np.ndarray, np.ndarray]]  # camera -> fine and coarse, float16
    state: np.ndarray  # (n, D)
    points: np.ndarray  # (n, G, 3) m, world frame
    instructions: list[str]


class SceneLooker:
    """Sets up random scenes, the arm anywhere and the cube sometimes in its hand, and looks once.

    No physics: one new layout per frame teaches places better than many frames of one episode.
    """

    def __init__(self, world: SimulationConfig):
        self._world = Simulation(world)
        self._vision = FrozenVision(threads=1)

    def __call__(self, seed: int) -> Looks:
        rng = np.random.default_rng([seed, 7])
        seen, states, points, instructions = [], [], [], []
        for i in range(SCENES_PER_CALL):
            self._world.reset(FIRST_SEED + SCENES_PER_CALL * seed + i)
            self._pose(rng)
            seen.append([self._world.render(camera) for camera in self._world.robot.camera_names])
            states.append(self._world.state())
            points.append(np.stack(list(self._world.ground_truth().values())))
            instructions.append(self._world.instruction)
        images = {c: np.stack([row[i] for row in seen]) for i, c in enumerate(self._world.robot.camera_names)}
        maps = {c: self._vision.encode(pictures, np.float16) for c, pictures in images.items()}
        return Looks(maps, np.stack(states), np.stack(points), instructions)

    def _pose(self, rng: np.random.Generator) -> None:
        """Move the tool near the cube, near the plate with or without the cube, or anywhere."""
        world = self._world
        cube, plate, *_ = world.ground_truth().values()
        place, holding = rng.choice(["cube", "plate", "anywhere"]), rng.random() < 0.5
        center = {
            "cube": cube,
            "plate": plate,
            "anywhere": np.array([*rng.uniform([-0.45, -0.24], [-0.2, 0.24]), 0.0]),
        }[place]
        spread = 0.04 * rng.random()
        pos_w = [*(center[:2] + rng.normal(0, spread, 2)), rng.uniform(0.03 if place == "plate" else 0.015, 0.20)]
        home = np.array(world.robot.home_rad)
        joints = world.kinematics.inverse(np.array(pos_w), tool_down(rng.uniform(-np.pi / 2, np.pi / 2)), home)
        if joints is None:
            return
        world.data.qpos[world.scene.arm_qpos] = joints - world.encoder_bias_rad
        half_m = world.scene.slots[0].grasp_half_width_m
        held = holding and place != "cube"
        travel = half_m if held else rng.choice([1.0, 1.0, rng.random()]) * world.scene.finger_travel_m
        world.data.qpos[world.scene.finger_qpos] = travel
        if held:
            world.hold_object()
        mujoco.mj_forward(world.scene.model, world.data)


def gather(config: PretrainGroundingConfig) -> list[Looks]:
    """Looks at `config.scenes` scenes."""
    world = SimulationConfig(config.task, config.randomize, config.render, config.split)
    calls = range(round(config.scenes / SCENES_PER_CALL))
    looks = map_seeds(functools.partial(SceneLooker, world), calls, WorkerConfig(config.workers))
    return list(track(looks, "looking at scenes", total=len(calls)))


class LookTable:
    """All looks in a row, for random batches."""

    def __init__(self, looks: list[Looks], text: FrozenText):
        cameras = looks[0].maps
        self.maps = {c: tuple(np.concatenate([look.maps[c][i] for look in looks]) for i in (0, 1)) for c in cameras}
        self.state = np.concatenate([look.state for look in looks])
        self.points = np.concatenate([look.points for look in looks])
        instructions = [sentence for look in looks for sentence in look.instructions]
        sentences, self.sentence = np.unique(instructions, return_inverse=True)
        self.words, self.mask = (torch.from_numpy(x) for x in text.encode(sentences.tolist()))

    def batch(self, rows: np.ndarray) -> tuple:
        """maps, words, mask, state, points of these rows, as tensors."""
        maps = {c: tuple(torch.from_numpy(part[rows]).float() for part in parts) for c, parts in self.maps.items()}
        s = self.sentence[rows]
        return (
            maps,
            self.words[s],
            self.mask[s],
            torch.from_numpy(self.state[rows]),
            torch.from_numpy(self.points[rows]),
        )


def errors_m(model: SmallVla, table: LookTable, rows: np.ndarray) -> np.ndarray:
    """(rows, G) horizontal distance of the grounded points from the truth, m."""
    maps, words, mask, state, points = table.batch(rows)
    with torch.no_grad():
        found = model.points_m(model.fusion(maps, words, mask, state)[1])
    return (found - points)[..., :2].norm(dim=-1).numpy()


def pretrain(config: PretrainGroundingConfig) -> Path:
    """Gather looks, train the fusion on grounding, write weights and card to `config.out`."""
    out = Path(config.out)
    table = LookTable(gather(config), FrozenText())
    held = len(table.state) // 20  # the last episodes
    rows, held_rows = np.arange(len(table.state) - held), np.arange(len(table.state) - held, len(table.state))
    torch.set_num_threads(config.workers)
    torch.manual_seed(0)
    model = SmallVla(config.policy)
    model.point_center.copy_(torch.from_numpy(table.points[rows].mean(0)))
    _descend(model, table, rows, config)
    parts = np.array_split(held_rows, max(held // 256, 1))
    errors_mm = 1e3 * np.concatenate([errors_m(model.eval(), table, part) for part in parts])
    card = {
        "what": "fusion of the small policy, pretrained on grounding from simulator pictures alone",
        "licence": "Apache-2.0, made by `python -m policies.pretrain_grounding`",
        "held_out_frames": len(held_rows),
        "horizontal_error_mm": _summary(errors_mm),
        "horizontal_error_near_mm": _summary(np.where(_near(table.points[held_rows]), errors_mm, np.nan)),
        **provenance({"config": config, "fusion": config.policy.fusion}),
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file({**model.fusion.state_dict(), "point_center": model.point_center}, out / WEIGHTS)
    (out / CARD).write_text(json.dumps(card, indent=1) + "\n")
    _log.info("held-out error, mm: %s", card["horizontal_error_mm"])
    _log.info("within %g m of the tool: %s; %s", NEAR_M, card["horizontal_error_near_mm"], out)
    return out


def _near(points: np.ndarray) -> np.ndarray:
    """points (rows, G, 3) -> (rows, G) bool: the thing lies near the tool."""
    distance = {
        name.removesuffix("_t"): np.linalg.norm(points[:, i], axis=-1) < NEAR_M
        for i, name in enumerate(GROUNDING_COLUMNS)
        if name.endswith("_t")
    }
    return np.stack([distance[name[:-2]] for name in GROUNDING_COLUMNS], 1)


def _summary(errors_mm: np.ndarray) -> dict[str, dict[str, float]]:
    """Median and 90 % of each label's errors (rows, G), nan left out."""
    percents = {"median": 50, "p90": 90}
    return {
        name: {of: round(float(np.nanpercentile(errors_mm[:, i], percent)), 1) for of, percent in percents.items()}
        for i, name in enumerate(GROUNDING_COLUMNS)
    }


def _descend(model: SmallVla, table: LookTable, rows: np.ndarray, config: PretrainGroundingConfig) -> None:
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.fusion.parameters(), config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=0.05)
    for _ in track(range(config.steps), "grounding"):
        maps, words, mask, state, points = table.batch(rng.choice(rows, config.batch))
        loss = model.grounding_loss(model.fusion(maps, words, mask, state)[1], points)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.fusion.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def load_backbone(model: SmallVla, root: Path) -> dict:
    """Put the shipped fusion into `model`; its card. UserError when it is missing or was made for other sizes."""
    if not (root / WEIGHTS).is_file():
        raise UserError(
            f"no fusion backbone in {root}; make it with python -m policies.pretrain_grounding, or give backbone=null"
        )
    card = json.loads((root / CARD).read_text())
    made_for = typed(type(model.config.fusion), card["fusion"], "fusion.")
    if made_for != model.config.fusion:
        raise UserError(f"{root} was made for {plain(made_for)}, not {plain(model.config.fusion)}; give backbone=null")
    weights = load_file(root / WEIGHTS)
    model.point_center.copy_(weights.pop("point_center"))
    model.fusion.load_state_dict(weights)
    return card


if __name__ == "__main__":
    run_program("pretrain_grounding", PretrainGroundingConfig, pretrain, __doc__)
