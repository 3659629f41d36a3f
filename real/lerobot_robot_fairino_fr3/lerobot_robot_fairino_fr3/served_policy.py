"""A policy that LeRobot trained, as this project's servers serve one: LeRobot's network between LeRobot's processors.

Shapes: H, W image height and width, D action dimension, T steps of a chunk.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig  # pyright: ignore[reportMissingImports]
from lerobot.policies import get_policy_class, make_pre_post_processors  # pyright: ignore[reportMissingImports]
from lerobot.policies.utils import prepare_observation_for_inference  # pyright: ignore[reportMissingImports]
from lerobot.processor import (  # pyright: ignore[reportMissingImports]
    RenameObservationsProcessorStep,
    TokenizerProcessorStep,
)
from safetensors import SafetensorError

from policies.remote.metadata import ServerMetadata
from policies.remote.requests import RequestReader, own_of, seed_of
from sim.core.contract import Observation
from sim.core.errors import UserError, reason
from sim.dataset.schema import IMAGE_PREFIX
from sim.robots.robot import Robot

CONFIG, WEIGHTS = "config.json", "model.safetensors"
STATE, ACTION = "observation.state", "action"
UNUSABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)


class LeRobotPolicy:
    """A checkpoint of LeRobot that decides for one robot. It keeps nothing from one decision to the next."""

    def __init__(self, root: Path, robot: Robot):
        """UserError when it is no checkpoint of LeRobot's, or made for other cameras, values or units."""
        self.root, self.robot = root, robot
        check_lerobots(root)
        try:
            self.config = PreTrainedConfig.from_pretrained(root)
            if hasattr(self.config, "pretrained_backbone_weights"):
                self.config.pretrained_backbone_weights = (
                    None  # else they are downloaded, and replaced by the checkpoint's
                )
            self._policy = get_policy_class(self.config.type).from_pretrained(root, config=self.config)
            device = {"device_processor": {"device": self.config.device}}
            self._before, self._after = make_pre_post_processors(self.config, str(root), preprocessor_overrides=device)
        except UNUSABLE as error:
            raise UserError(f"{root} cannot be loaded by LeRobot: {reason(error)}") from error
        self.looks: int = self.config.n_obs_steps
        self.cameras, self.image_size = self._cameras()
        tokenizes = any(isinstance(step, TokenizerProcessorStep) for step in self._before.steps)
        self.reader = RequestReader(self.cameras, self.image_size, robot.action_dim, tokenizes)
        self.chunk = len(self._try_out())

    def decide(self, observations: Sequence[Observation], seed: int) -> np.ndarray:
        """Return a chunk (T, D) on the observations of successive steps, the newest last; where there are fewer than
        `looks`, the first was seen before too, as LeRobot begins an episode. seed: of the noise."""
        frames = [self._frame(one) for one in ([observations[0]] * self.looks + [*observations])[-self.looks :]]
        batch = frames[-1] if self.looks == 1 else _stacked(frames)
        self._policy.reset()
        torch.manual_seed(seed)
        device = torch.device(self.config.device).type
        with torch.inference_mode(), torch.autocast(device, enabled=self.config.use_amp and device == "cuda"):
            chunk = self._after(self._policy.predict_action_chunk(batch))
        return chunk[0].float().cpu().numpy()

    def metadata(self) -> ServerMetadata:
        """Return what a server says of it. LeRobot keeps neither tasks nor seeds that it was trained on."""
        return ServerMetadata(
            robot=self.robot.name,
            control_hz=self.robot.control_hz,
            cameras=self.cameras,
            image_size=self.image_size,
            action_dim=self.robot.action_dim,
            chunk=self.chunk,
            execute=min(getattr(self.config, "n_action_steps", self.chunk), self.chunk),
            given_steps=0,
            tasks=(),
            indicator="",
            guidance=1.0,
            weights=hashlib.sha256((self.root / WEIGHTS).read_bytes()).hexdigest(),
            seeds=[],
            splits=[],
            looks=self.looks,
        )

    def _cameras(self) -> tuple[tuple[str, ...], tuple[int, int]]:
        """Return the robot's cameras that it looks at, and their images' (H, W)."""
        renamed = {}
        for step in self._before.steps:
            renamed |= step.rename_map if isinstance(step, RenameObservationsProcessorStep) else {}
        wanted, found = self.config.image_features, {}
        for camera in self.robot.camera_names:
            key = f"{IMAGE_PREFIX}{camera}"
            if feature := wanted.get(renamed.get(key, key)):
                found[camera] = tuple(feature.shape[1:])
        if len(found) < min(len(wanted), len(self.robot.camera_names)):
            raise UserError(
                f"{self.root} looks at {', '.join(wanted)}, the {self.robot.name} has "
                f"{', '.join(f'{IMAGE_PREFIX}{camera}' for camera in self.robot.camera_names)}: --rename_map of "
                "lerobot-train maps them"
            )
        if len(set(found.values())) > 1:
            raise UserError(f"{self.root} looks at images of several sizes, {found}; expected one")
        return tuple(found), next(iter(found.values()), (0, 0))

    def _frame(self, observation: Observation) -> dict[str, Any]:
        """Return an observation as the network takes it, B = 1."""
        images = {f"{IMAGE_PREFIX}{camera}": observation.images[camera] for camera in self.cameras}
        frame = {**images, STATE: observation.state}
        device = torch.device(self.config.device)
        return self._before(prepare_observation_for_inference(frame, device, observation.instruction, self.robot.name))

    def _try_out(self) -> np.ndarray:
        """Return the chunk of black images at home. UserError for what no chunk of this robot can be."""
        state = np.array([*self.robot.home_rad, 1.0], np.float32)
        black = dict.fromkeys(self.cameras, np.zeros((*self.image_size, 3), np.uint8))
        try:
            chunk = self.decide([Observation(black, state, "stay where you are", 0.0)], 0)
        except (*UNUSABLE, NotImplementedError, IndexError, AttributeError) as error:
            raise UserError(f"{self.root}, of policy {self.config.type!r}, does not decide: {reason(error)}") from error
        if chunk.ndim != 2 or chunk.shape[1] != self.robot.action_dim or not np.isfinite(chunk).all():
            raise UserError(
                f"{self.root} decides {chunk.shape}, expected finite numbers of (steps, {self.robot.action_dim}): "
                f"the joints of {self.robot.name}, rad, and its gripper"
            )
        furthest = np.abs(chunk[:, :-1]).max()
        if furthest > 2 * np.pi:
            raise UserError(f"{self.root} decides joints of {furthest:.0f}: its data were in degrees, expected rad")
        return chunk


class LeRobotSession:
    """Decides on one client's observations. A client that says no seed is drawn noise from seed 0 when it connects."""

    def __init__(self, policy: LeRobotPolicy):
        self._policy, self._seeds = policy, np.random.default_rng(0)

    def infer(self, request: Any) -> dict[str, Any]:
        """Return the chunk (T, D) as `actions`: absolute joint targets, rad, gripper opening 0..1."""
        now, own = self._policy.reader.observation(request), own_of(request)
        if "seed" in own:
            self._seeds = np.random.default_rng(seed_of(own))
        earlier = own.get("before", [])
        if not isinstance(earlier, list) or len(earlier) >= max(self._policy.looks, 1):
            raise UserError(f"'before' is not a list of at most {self._policy.looks - 1} observations")
        before = [self._policy.reader.observation(one) for one in earlier]
        return {"actions": self._policy.decide([*before, now], int(self._seeds.integers(2**63)))}


def check_lerobots(root: Path) -> None:
    """Raise UserError when a folder holds no checkpoint of LeRobot's."""
    try:
        content = json.loads((root / CONFIG).read_text())
    except (OSError, ValueError):
        content = {}
    if "contract" in content:
        raise UserError(f"{root} is a checkpoint of this project: python -m policies.serve checkpoint={root} serves it")
    if "type" not in content or not (root / WEIGHTS).is_file():
        raise UserError(f"{root} is no checkpoint of LeRobot: {CONFIG} and {WEIGHTS} expected there")


def _stacked(frames: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return frames of successive steps as one: tensors (1, steps, ...)."""
    newest = frames[-1]
    tensors = {key for key, value in newest.items() if isinstance(value, torch.Tensor) and value.ndim > 1}
    return newest | {key: torch.stack([frame[key] for frame in frames], 1) for key in tensors}
