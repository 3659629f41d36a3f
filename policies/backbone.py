"""`python -m policies.backbone [frames=20000] [steps=2500] [out=assets/fusion]`

The fusion backbone that ships with the project: pretrained on grounding alone, from pictures of the
simulator, so that a policy starts from it as SmolVLA starts from SmolVLM2. It learns where the
named cube and the named plate are; no action is seen.
"""

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from safetensors.torch import load_file, save_file

from policies.text import FrozenText
from policies.vision import FrozenVision
from policies.vla import SmallVla, VlaConfig
from sim.config import run_program, typed
from sim.contract import POLICY_PERIOD_S
from sim.env import SimEnv
from sim.errors import UserError
from sim.expert import Expert
from sim.guard import MotionGuard
from sim.loop import run_episode
from sim.provenance import plain, provenance
from sim.randomize import RandomizeConfig
from sim.scene import RenderConfig
from sim.workers import play_all
from sim.world import WorldConfig

WEIGHTS, CARD = "fusion.safetensors", "card.json"
FRAMES_PER_EPISODE = 16
FIRST_SEED = 2_000_000  # far from every demonstration, rollout and evaluation


@dataclass(frozen=True)
class BackboneConfig:
    """Options of the program."""

    frames: int = 20000
    steps: int = 2500
    batch: int = 128
    learning_rate: float = 1.5e-3
    out: str = "assets/fusion"
    workers: int = 2
    task: str = "pick_place"
    policy: VlaConfig = field(default_factory=VlaConfig)
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    render: RenderConfig = field(default_factory=RenderConfig)


@dataclass
class Looks:
    """What one episode shows: FRAMES_PER_EPISODE or fewer frames."""

    images: dict[str, np.ndarray]  # camera -> (n, H, W, 3)
    state: np.ndarray  # (n, D)
    points: np.ndarray  # (n, 2, 3) m
    instruction: str


class Glimpses:
    """Keeps random frames of an episode; satisfies `sim.loop.Recorder`."""

    def __init__(self, seed: int, expected_steps: int = 110):
        self._rng = np.random.default_rng([seed, 7])
        self._share = FRAMES_PER_EPISODE / expected_steps
        self._rows: list[tuple] = []

    def add(self, observation, asked, sent, feedback, flags, labels) -> None:
        if self._rng.random() < self._share:
            self._rows.append((dict(observation.images), observation.state, np.stack(list(labels.values()))))

    def looks(self, instruction: str) -> Looks:
        images = {c: np.stack([row[0][c] for row in self._rows]) for c in self._rows[0][0]}
        return Looks(images, np.stack([r[1] for r in self._rows]), np.stack([r[2] for r in self._rows]), instruction)


class LookPlayer:
    """Plays the expert, mostly pushed around, and returns maps of what is seen."""

    def __init__(self, world: WorldConfig):
        self._env = SimEnv(world)
        self._expert = Expert(self._env, perturb=0.9)
        self._guard = MotionGuard(self._env.robot)
        self._vision = FrozenVision(threads=1)

    def __call__(self, seed: int) -> tuple[dict, np.ndarray, np.ndarray, str] | None:
        glimpses = Glimpses(seed)
        run_episode(self._env, self._expert, self._guard, seed, POLICY_PERIOD_S, glimpses)
        if not glimpses._rows:
            return None
        looks = glimpses.looks(self._env.world.instruction)
        maps = {c: self._vision.encode(images, np.float16) for c, images in looks.images.items()}
        return maps, looks.state, looks.points, looks.instruction


def gather(config: BackboneConfig) -> list[tuple]:
    """Looks of enough episodes for `config.frames` frames."""
    world = WorldConfig(config.task, config.randomize, config.render)
    episodes = range(FIRST_SEED, FIRST_SEED + round(config.frames / FRAMES_PER_EPISODE))
    played = play_all(functools.partial(LookPlayer, world), episodes, config.workers)
    return [looks for looks in track(played, "looking around", total=len(episodes)) if looks is not None]


class LookTable:
    """All looks in a row, for random batches."""

    def __init__(self, looks: list[tuple], text: FrozenText):
        cameras = looks[0][0]
        self.maps = {c: tuple(np.concatenate([look[0][c][i] for look in looks]) for i in (0, 1)) for c in cameras}
        self.state = np.concatenate([look[1] for look in looks])
        self.points = np.concatenate([look[2] for look in looks])
        self.sentence = np.repeat(np.arange(len(looks)), [len(look[1]) for look in looks])
        self.words, self.mask = (torch.from_numpy(x) for x in text.encode([look[3] for look in looks]))

    def batch(self, rows: np.ndarray) -> tuple:
        """maps, words, mask, state, points of these rows, as tensors."""
        maps = {c: tuple(torch.from_numpy(part[rows]).float() for part in parts) for c, parts in self.maps.items()}
        s = self.sentence[rows]
        return maps, self.words[s], self.mask[s], torch.from_numpy(self.state[rows]), torch.from_numpy(self.points[rows])


def errors_m(model: SmallVla, table: LookTable, rows: np.ndarray) -> np.ndarray:
    """(rows, 2) horizontal distance of the grounded points from the truth, m."""
    maps, words, mask, state, points = table.batch(rows)
    with torch.no_grad():
        found = model.points_m(model.fusion(maps, words, mask, state)[1])
    return (found - points)[..., :2].norm(dim=-1).numpy()


def pretrain(config: BackboneConfig) -> Path:
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
    errors = np.concatenate([errors_m(model.eval(), table, part) for part in np.array_split(held_rows, max(held // 256, 1))])
    card = {
        "what": "fusion of the small policy, pretrained on grounding from simulator pictures alone",
        "licence": "Apache-2.0, made by `python -m policies.backbone`",
        "held_out_frames": len(held_rows),
        "median_error_mm": {"object": _mm(errors[:, 0], 50), "target": _mm(errors[:, 1], 50)},
        "p90_error_mm": {"object": _mm(errors[:, 0], 90), "target": _mm(errors[:, 1], 90)},
        **provenance({"config": config, "fusion": config.policy.fusion}),
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file({**model.fusion.state_dict(), "point_center": model.point_center}, out / WEIGHTS)
    (out / CARD).write_text(json.dumps(card, indent=1) + "\n")
    print(f"held-out error, median mm: {card['median_error_mm']}, 90 %: {card['p90_error_mm']}; {out}")
    return out


def _mm(values: np.ndarray, percent: float) -> float:
    return round(float(np.percentile(values, percent)) * 1e3, 1)


def _descend(model: SmallVla, table: LookTable, rows: np.ndarray, config: BackboneConfig) -> None:
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


def load_backbone(model: SmallVla, root: Path) -> None:
    """Put the shipped fusion into `model`. UserError when it is missing or was made for other sizes."""
    if not (root / WEIGHTS).is_file():
        raise UserError(f"no fusion backbone in {root}; make it with python -m policies.backbone, or give backbone=null")
    made_for = typed(type(model.config.fusion), json.loads((root / CARD).read_text())["fusion"], "fusion.")
    if made_for != model.config.fusion:
        raise UserError(f"{root} was made for {plain(made_for)}, not {plain(model.config.fusion)}; give backbone=null")
    weights = load_file(root / WEIGHTS)
    model.point_center.copy_(weights.pop("point_center"))
    model.fusion.load_state_dict(weights)


if __name__ == "__main__":
    run_program("backbone", BackboneConfig, pretrain, __doc__)
