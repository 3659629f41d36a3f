"""`python -m policies.value_map [checkpoint=CKPT] [task=pick_place] [seed=900000] [instruction="..."] [out=FILE.png]`

Draws where the eye puts the object and the target of a sentence at the first look of an episode (after VoxPoser, Huang
et al. 2023, whose maps a language model composes): a heat map in each camera's picture and one over the table, the
density of the eye's own estimate. planner=grammar draws a row for each step of an instruction of several.
"""

import logging
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from policies.core.interface import Policy
from policies.core.planner import NoPlanner, PlannerConfig
from policies.eye.trunk import SIDE
from policies.eye.value_map import picture_chance, table_density
from policies.eye_training.load import policy_or_eye
from policies.fusion.eye import EXISTS, Eye
from policies.processing.observation import ObservationProcessor
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.options import FILE, SEED, block, option
from sim.core.program import run_program
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig

AREA_M = (-0.56, -0.12, -0.32, 0.32)  # of the table: x, then y
STEP_M = 0.002
ROLES = {"object": (1.0, 0.45, 0.0), "target": (0.0, 0.75, 1.0)}
STRONGEST = 0.75  # opacity
DECADES = 4  # of density over the table: the eye's error is some millimetres, and its density falls off as fast

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ValueMapConfig(SimulationConfig):
    """Options of the program."""

    eye: str = option("assets/eye", "a pretrained eye; used where no checkpoint is named")
    checkpoint: str | None = option(None, "a policy whose eye looks")
    seed: int = option(900_000, "of the episode", SEED)
    instruction: str | None = option(None, "what is asked; null: the episode's own")
    planner: PlannerConfig = block(NoPlanner, "what takes an instruction of several steps apart")
    out: str = option("runs/value_map.png", "the picture", FILE)

    @property
    def policy(self) -> Policy:
        return policy_or_eye(self.checkpoint, self.eye, self.robot.load())


def sentences(planner: PlannerConfig, instruction: str) -> list[str]:
    """Return the steps of an instruction, itself where there is no planner."""
    built, said = planner.build(), []
    if built is None:
        return [instruction]
    while step := built.next_step(instruction, said, lambda sentence: 1.0):
        said.append(step.sentence)
    return said


class Looker:
    """An eye that is asked for its maps. UserError for a policy without one."""

    def __init__(self, policy: Policy):
        finder = getattr(getattr(policy, "fusion", None), "finder", None)
        if not isinstance(finder, Eye):
            raise UserError("this policy has no eye, whose estimate could be drawn; policy=eye has one")
        self._eye, self._processor, self._spec = finder, ObservationProcessor(policy), policy.spec

    @torch.no_grad()
    def draw(self, row: list[Axes], observation: Observation, sentence: str) -> None:
        """Draw the maps of a sentence into one row of axes: each camera's, then the table's."""
        images = {camera: torch.tensor(observation.images[camera])[None] for camera in self._spec.cameras}
        words, mask = self._processor.words([sentence])
        state = torch.tensor(observation.state)[None]
        found = self._eye.find(images, words, mask, state)
        views = self._eye.views(images, self._eye.network.read(words, mask))
        for axes, (camera, image) in zip(row, images.items(), strict=False):
            axes.imshow(image[0].numpy(), extent=(0, 1, 1, 0))
            for chance, colour in zip(picture_chance(views[camera]).numpy(), ROLES.values(), strict=True):
                share = chance / max(chance.max(), 1e-9) * chance.sum()  # faint where it is hardly in the picture
                axes.imshow(tinted(share, colour), extent=(0, 1, 1, 0), interpolation="bilinear")
            axes.set_title(camera)
        draw_table(row[-1], table_density(found, grid()).numpy())
        absent = [name for name, flags in zip(ROLES, found.flags[0], strict=True) if flags[EXISTS] <= 0]
        row[0].set_ylabel(sentence + "".join(f"\n({name} not found)" for name in absent), wrap=True)


def grid() -> torch.Tensor:
    """Return places (H, W, 2) m of the table: rows along -x, away from the arm, columns along y."""
    far, near, left, right = AREA_M
    x, y = torch.arange(near, far, -STEP_M), torch.arange(left, right, STEP_M)
    return torch.stack(torch.meshgrid(x, y, indexing="ij"), -1)


def tinted(values: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """Return values (H, W) 0..1 as RGBA (H, W, 4) of one colour, the more opaque the larger."""
    opacity = STRONGEST * values
    return np.concatenate([np.broadcast_to(colour, (*values.shape, 3)), opacity[..., None]], -1)


def draw_table(axes: Axes, density: np.ndarray) -> None:
    """Draw densities (R, H, W) over the table as the arm's foot sees it, away is up, as orders of magnitude."""
    far, near, left, right = AREA_M
    for one, (name, colour) in zip(density, ROLES.items(), strict=True):
        shown = 1 + np.log10(np.maximum(one / max(one.max(), 1e-9), 10.0**-DECADES)) / DECADES
        axes.imshow(tinted(shown, colour), extent=(left, right, near, far), origin="lower")
        axes.plot([], [], "s", color=colour, label=name)
    axes.set(xlabel="y, m", ylabel="x, m", title=f"table: density, {DECADES} decades")
    axes.legend(loc="upper right", frameon=False)


def value_map(config: ValueMapConfig) -> Path:
    """Draw the picture; return where it is."""
    looker = Looker(config.policy)
    world = replace(config.world, render=replace(config.render, height=SIDE, width=SIDE))
    env = SimEnv(world)
    env.reset(config.seed)
    observation = env.observe()
    rows = sentences(config.planner, config.instruction or observation.instruction)
    columns = len(env.robot.camera_names) + 1
    figure = Figure(figsize=(4 * columns, 4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, sentence in zip(axes, rows, strict=True):
        for one in row[:-1]:
            one.set(xticks=[], yticks=[])
        looker.draw(list(row), observation, sentence)
    env.close()
    picture, out = BytesIO(), Path(config.out)
    FigureCanvasAgg(figure).print_png(picture)
    write_atomic(out, picture.getvalue())
    _log.info("%s", out)
    return out


if __name__ == "__main__":
    run_program("value_map", ValueMapConfig, value_map, __doc__)
