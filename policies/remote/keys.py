"""Under which keys a server of openpi's protocol takes an observation, and how it counts: the one place for both.

`server_keys=NAME` chooses a file of conf/server_keys, `server_keys.prompt=KEY` and the like change it. A server of this
project takes the defaults and says the rest itself, in its metadata. Whatever the keys, actions must be absolute joint
targets in rad, then the gripper.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.core.contract import Observation
from sim.core.errors import UserError, nearest
from sim.core.options import IMAGE_SIDE, Options, at_least, block, option

IMAGES = "observation/images/"  # the key of a camera that has no other


@dataclass(frozen=True)
class ServerKeys(Options):
    """What a request is made of. A slash in a key is a part of it."""

    images: dict[str, str] = block(dict, "by camera: its key; empty: every camera as observation/images/CAMERA")
    state: str | None = option("observation/state", "key of the joints, rad, then the gripper; null: not sent")
    joints: str | None = option(None, "key of the joints alone, rad; null: not sent")
    gripper: str | None = option(None, "key of the gripper alone; null: not sent")
    prompt: str = option("prompt", "key of the instruction")
    closed_is_one: bool = option(False, "it counts the gripper from 0 open to 1 closed")
    height: int = option(224, "of an image, pixels", IMAGE_SIDE)
    width: int = option(224, "of an image, pixels", IMAGE_SIDE)
    control_hz: int | None = option(None, "actions a second that it was trained for; null: the robot's", at_least(1))
    execute: int = option(8, "steps of a chunk that are played", at_least(1))

    def request(self, observation: Observation) -> dict[str, Any]:
        """Return an observation as the server takes it."""
        joints, gripper = observation.state[:-1], self.opening(observation.state[-1:])
        values = {self.state: np.concatenate([joints, gripper]), self.joints: joints, self.gripper: gripper}
        images = {self.image_key(camera): image for camera, image in observation.images.items()}
        return {**images, **{key: one for key, one in values.items() if key}, self.prompt: observation.instruction}

    def image_key(self, camera: str) -> str:
        return self.images.get(camera, IMAGES + camera)

    def cameras(self, of_robot: tuple[str, ...]) -> tuple[str, ...]:
        """Return the cameras whose images are sent. UserError for a key of one that the robot does not have."""
        for camera in self.images:
            if camera not in of_robot:
                raise UserError(nearest(camera, of_robot, "camera in server_keys.images"))
        return tuple(camera for camera in of_robot if camera in self.images) if self.images else of_robot

    def actions(self, chunk: np.ndarray) -> np.ndarray:
        """Return the server's actions (T, D) as this project counts them."""
        return np.column_stack([chunk[:, :-1], self.opening(chunk[:, -1])])

    def opening(self, gripper: np.ndarray) -> np.ndarray:
        """Return gripper openings 0 closed .. 1 open of the server's, or the other way round."""
        return 1.0 - gripper if self.closed_is_one else gripper
