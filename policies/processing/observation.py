"""Observations to the inputs of a policy: the one place where images, state and instruction become tensors.

Training goes through it when it fills the feature cache, acting for every look, the value and
grounding pretraining for theirs. A policy that looks at no image, or reads no instruction, costs
neither.

Shapes: B observations, H and W pixels, D state dimension, G grounded points.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from policies.core.depth import SIDE, depth_cells
from policies.core.inputs import Inputs
from policies.core.interface import Policy
from policies.core.parts import JointConfig, JointEncoder, VisionEncoder
from policies.core.target_memory import TargetMemory
from policies.processing.resize import centre
from policies.processing.steps import StepMemory
from sim.core.contract import TURN_COLUMNS, Observation
from sim.core.errors import UserError
from sim.tasks.steps import possible_steps


class ObservationProcessor:
    """A policy's frozen encoders, and its own frozen part."""

    def __init__(self, policy: Policy, threads: int = 1):
        """Load the encoders that `policy` needs. UserError when their weights are missing."""
        config, needs = policy.config, policy.needs
        self.policy, self.spec = policy, policy.spec
        self.vision: VisionEncoder | None = None
        self.joint: JointEncoder | None = None  # reads images and instruction together, instead of the other two
        if isinstance(config.vision, JointConfig) and needs.images:
            self.joint = config.vision.build(threads)
        elif config.vision and needs.images:
            self.vision = config.vision.build(threads)  # pyright: ignore[reportAttributeAccessIssue]
        self.language = config.language.build() if config.language and needs.instruction else None

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras whose images are needed."""
        return self.spec.cameras if self.looks else ()

    @property
    def depth_cameras(self) -> tuple[str, ...]:
        """Cameras whose depth is needed."""
        return self.spec.cameras if self.policy.needs.depth else ()

    @property
    def looks(self) -> bool:
        """Whether images are encoded."""
        return self.vision is not None or self.joint is not None

    @property
    def encoders(self) -> dict[str, str]:
        """Fingerprints of the encoders, "" where there is none."""
        return {
            "vision": sees.fingerprint if (sees := self.vision or self.joint) else "",
            "text": self.language.fingerprint if self.language else "",
        }

    @property
    def earlier_encoders(self) -> dict[str, str]:
        """The same as older checkpoints have them, where an encoder's fingerprint was another."""
        parts = {"vision": self.vision or self.joint, "text": self.language}
        return {name: getattr(part, "earlier_fingerprint", self.encoders[name]) for name, part in parts.items()}

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits, and whether depth is read; equal ones mean equal inputs of equal frames."""
        return "-".join(filter(None, [self._fingerprint, f"depth{SIDE}" if self.depth_cameras else ""]))

    @property
    def _fingerprint(self) -> str:
        frozen = self.policy.frozen_weights()
        if not (self.policy.condenses or frozen):
            return self.encoders["vision"]
        kept = "points and turns" if self.policy.condenses else "maps"
        digest = hashlib.sha256(" ".join(self.encoders.values()).encode() + kept.encode())
        for name, value in sorted(frozen.items()):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    # ---- what it does --------------------------------------------------------------------------

    def inputs(
        self, images: Mapping[str, np.ndarray], state: np.ndarray, instructions: Sequence[str],
        truth: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Inputs:  # fmt: skip
        """Return the inputs of B frames.

        images: camera -> uint8 RGB (B, H, W, 3), an eye does without one of them; one for all where steps are played.
        state: (B, D) as measured. truth: points (B, G, 3) m and turns (B, 2, 4), for a policy that needs them.
        UserError for images of another size or an empty instruction.
        """
        shown = {camera: self._checked(images[camera]) for camera in self.cameras if camera in images}
        raw = Inputs(torch.tensor(state))
        if self.joint:
            maps, words, mask = self.joint.read(shown, instructions)
            raw.maps = {camera: tuple(map(torch.from_numpy, parts)) for camera, parts in maps.items()}
            raw.words, raw.word_mask = torch.from_numpy(words), torch.from_numpy(mask)
        else:
            raw.maps = {camera: self._maps(one) for camera, one in shown.items()}
        if self.language:
            raw.words, raw.word_mask = self.words(instructions)
        if self.policy.needs.ground_truth:
            assert truth is not None
            raw.points, raw.turn = (torch.tensor(one) for one in truth)
        return self.policy.condense(raw)

    def observe(
        self, observation: Observation, truth: Mapping[str, np.ndarray] | None = None,
        memory: TargetMemory | None = None, step: StepMemory | None = None,
    ) -> Inputs:  # fmt: skip
        """Return the inputs, B = 1, of one observation, of a long instruction those of the step that is due.

        truth: of the simulator, by column. memory: of the episode, for a policy that remembers its target. step: of the
        episode, None: this is its first look.
        """
        steps = possible_steps(observation.instruction) if self.policy.plays_steps else ()
        images = {camera: observation.images[camera][None] for camera in self.cameras}
        told = steps or (observation.instruction,)
        inputs = self.inputs(images, np.repeat(observation.state[None], len(told), 0), told, self._truth(truth))
        if memory:
            memory.listen(observation.instruction)
            inputs = memory.see(inputs)
        if steps:
            assert inputs.points is not None
            opening = float(observation.state[-1])
            due = (step or StepMemory()).see(observation.instruction, steps, inputs.points, opening)
            inputs = replace(inputs.take(torch.tensor([due])), step=torch.tensor([due]))
        return replace(inputs, touch=self.touch(observation), depth=self.depth(observation))

    def touch(self, observation: Observation) -> torch.Tensor | None:
        """Return what the tool feels (1, 7), for a policy that needs it. UserError where the robot does not tell."""
        if not self.policy.needs.touch:
            return None
        if observation.touch is None or not np.isfinite(observation.touch).all():
            raise UserError(
                "this policy acts on what the tool feels (policy.touch=true), and this robot does not tell: expected "
                "one whose force sensor is active, or a policy trained with policy.touch=false"
            )
        return torch.tensor(observation.touch[None])

    def depth(self, observation: Observation) -> dict[str, torch.Tensor]:
        """Return each camera's depth cells (1, `SIDE`, `SIDE`), for a policy that needs them. UserError where a camera
        measures none."""
        if missing := [camera for camera in self.depth_cameras if camera not in observation.depth]:
            raise UserError(
                f"this policy acts on depth (policy.depth=true), and camera {missing[0]} measures none: expected "
                "render.depth=true in simulation, a depth camera on the arm, or a policy with policy.depth=false"
            )
        return self.depth_cells({camera: observation.depth[camera][None] for camera in self.depth_cameras})

    def depth_cells(self, depth: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """camera -> uint16 (B, H, W), mm, to cells (B, `SIDE`, `SIDE`), m, in the float16 that caches hold, of the part
        that images are cropped to."""
        found = {}
        for camera, one in depth.items():
            rows, columns = centre(one.shape[1:], self.spec.image_size)
            found[camera] = depth_cells(torch.from_numpy(one[:, rows, columns].astype(np.int32))).half().float()
        return found

    def _truth(self, columns: Mapping[str, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray] | None:
        if columns is None:
            return None
        points, turns = (np.stack([columns[name] for name in names]) for names in (self.spec.points, TURN_COLUMNS))
        return points[None], turns[None]

    def goal(self, picture: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Return the feature maps (1, C, h, w) of a picture of the goal, uint8 RGB (H, W, 3)."""
        return self._maps(self._checked(picture[None]))

    def words(self, instructions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return token states (B, L, W) and mask (B, L)."""
        assert self.language
        words, mask = self.language.encode(list(instructions))
        return torch.from_numpy(words), torch.from_numpy(mask)

    def check_instruction(self, instruction: str) -> None:
        """UserError for an instruction that the encoders cannot read."""
        if self.joint:
            self.joint.check(instruction)
        elif self.language:
            self.words([instruction])

    def _checked(self, images: np.ndarray) -> np.ndarray:
        """Return images (B, H, W, 3), UserError when they are of another size."""
        if images.shape[1:3] != tuple(self.spec.image_size):
            raise UserError(f"images are {images.shape[1:3]}, the policy was trained on {tuple(self.spec.image_size)}")
        return images

    def _maps(self, images: np.ndarray) -> tuple[torch.Tensor, ...]:
        assert self.vision
        return tuple(torch.from_numpy(maps) for maps in self.vision.encode(images))
