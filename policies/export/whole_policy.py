"""A policy with its image encoder as one function of tensors: what is exported.

Shapes: H and W pixels, L words, W width of a word, D state and action dimension, T steps of a chunk.
"""

import numpy as np
import torch
from torch import Tensor, nn

from policies.core.indicator import Indicator
from policies.core.inputs import Inputs
from policies.core.target_memory import better, nothing_kept
from policies.export.noise import GivenNoise, RecordedNoise
from policies.runtime.decider import Decider
from sim.core.contract import Observation
from sim.core.errors import UserError

# In order; a policy that finds no things gives the first alone, one that remembers no target not the last.
OUTPUTS = ("actions", "points", "errors", "target")
PROMPT = "put the red cube on the blue plate"
PATCHES = 8  # a side of an image


class WholePolicy(nn.Module):
    """Images uint8 (1, H, W, 3), state (1, D), words (1, L, W) with their mask (1, L), noise -> what OUTPUTS names.

    Those are the fields of `policies.core.interface.Decision`.

    A policy that joins chunks takes the command (1, D) that they start from; no step of a chunk is given.
    """

    def __init__(self, decider: Decider):
        """UserError for a policy that cannot be exported."""
        super().__init__()
        policy, processor = decider.policy, decider.processor
        if decider.critic:
            raise UserError("a policy with a critic cannot be exported: it chooses among samples outside the network")
        if decider.noise_actor:
            raise UserError("a policy with a noise actor cannot be exported: its noise is decided outside the network")
        if policy.needs.goal:
            raise UserError(
                "a policy that is told its goal by a picture cannot be exported: a graph takes no such picture"
            )
        if policy.needs.touch:
            raise UserError("a policy with policy.touch=true cannot be exported: a graph takes no touch")
        if policy.needs.depth:
            raise UserError("a policy with policy.depth=true cannot be exported: a graph takes no depth")
        if policy.memory:
            raise UserError(
                f"a policy with policy.memory={policy.memory} cannot be exported: a graph remembers no looks"
            )
        self.policy, self.spec, self._conditioning = policy, policy.spec, decider.conditioning
        self.cameras = processor.cameras
        self.trunk = _trunk(processor.vision or processor.joint) if self.cameras else None
        self.reads = processor.language is not None
        self.joins, self.remembers = policy.given_steps > 0, policy.remembers_target

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs but the noise, in order."""
        images = [f"image.{camera}" for camera in self.cameras]
        words = ["words", "word_mask"] if self.reads else []
        return [*images, "state", *words, *(["commanded"] * self.joins), *(["kept_target"] * self.remembers)]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return what is decided: tensors as `inputs` names them, then the noise."""
        named = dict(zip(self.inputs, tensors, strict=False))
        maps = {camera: self.trunk(named[f"image.{camera}"]) for camera in self.cameras} if self.trunk else {}
        raw = Inputs(named["state"], maps, named.get("words"), named.get("word_mask"))
        inputs = self.policy.condense(raw)
        inputs.commanded, kept = named.get("commanded"), None
        if self.remembers:
            kept = better(named["kept_target"], self.policy.keep_target(inputs))
            inputs = self.policy.with_target(inputs, kept)
        how = self._conditioning
        with GivenNoise(tensors[len(self.inputs) :]):
            made = self.policy.act(inputs, torch.Generator(), Indicator(how.indicator), how.guidance)
        return tuple(one for one in (made.chunk, made.points, made.errors, kept) if one is not None)

    def noise(self, decider: Decider, look: Observation) -> RecordedNoise:
        """Return the noise of a decision."""
        with RecordedNoise() as recorded:
            decider.decide(look, look.state, [], torch.Generator().manual_seed(0))
        return recorded

    def tensors(
        self, decider: Decider, look: Observation, commanded: np.ndarray, kept: Tensor | None = None
    ) -> list[Tensor]:
        """Return an observation, and where the arm was last commanded to be, as the inputs but the noise.

        kept: what is remembered of the target, None: nothing.
        """
        state = torch.tensor(look.state)[None]  # a copy: a recorded one is read-only
        words = decider.processor.words([look.instruction]) if self.reads else ()
        images = [torch.from_numpy(look.images[camera])[None] for camera in self.cameras]
        memory = [nothing_kept() if kept is None else kept] if self.remembers else []
        return [*images, state, *words, *([torch.from_numpy(commanded)[None]] if self.joins else []), *memory]


def _trunk(vision: object) -> nn.Module:
    """Return the image encoder as a module. UserError for one that has none."""
    module = getattr(vision, "module", None)
    if module is None:
        raise UserError(
            f"the images of {type(vision).__name__} are encoded outside torch: such a policy is not exported"
        )
    return module()


def draw_look(spec, rng: np.random.Generator, cameras: tuple[str, ...]) -> Observation:
    """Return an observation of coloured patches, to compare a policy with its export: in noise the eye finds nothing,
    and what it points at hangs on rounding."""
    rows, columns = (np.arange(side) * PATCHES // side for side in spec.image_size)
    patches = {camera: rng.integers(0, 256, (PATCHES, PATCHES, 3), dtype=np.uint8) for camera in cameras}
    images = {camera: one[np.ix_(rows, columns)] for camera, one in patches.items()}
    state = np.append(rng.uniform(-1.5, 1.5, spec.state_dim - 1), rng.uniform()).astype(np.float32)
    return Observation(images, state, PROMPT, 0.0)
