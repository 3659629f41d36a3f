"""What randomization draws for one episode: every term by name, drawn once from a seed.

The values are recorded with the episode, and `apply.py` rebuilds the same model from them.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sim.randomize.ranges import RandomizeConfig, Range
from sim.robots.robot import Robot
from sim.scene.fixtures import BACKDROP_TEXTURES, LIGHTS, PATTERNS
from sim.scene.layout import Point

Vector = tuple[float, float, float]
DEPTH_STREAM = 4  # of random numbers beside those of an episode
ONE_AS_NUMBER = {"one_as_number": True}  # of fields with one value a camera of a kind


@dataclass(frozen=True, kw_only=True)
class Randomization:
    """The drawn values. `RandomizeConfig` explains each; per object, the task's come first, then distractors.

    Cameras of one kind follow each other as in the robot's description. What older recordings lack has a default.
    """

    object_scale: tuple[float, ...]
    object_mass_kg: tuple[float, ...]
    object_friction: tuple[float, ...]
    object_inertia: tuple[float, ...]
    object_patterns: tuple[int, ...]  # 0: none
    colour_hue: tuple[float, ...]  # of objects, then of targets
    colour_value: tuple[float, ...]
    table_texture: int  # 0: plain
    table_rgb: Vector
    table_friction: float
    table_height_m: float
    backdrop_texture: int  # 0: plain
    backdrop_rgb: Vector
    lights: int
    light_xy_m: Point  # of the key light
    light_strength: float
    light_strengths: tuple[float, ...]  # of the others, whose places begin at 1
    light_tint: Vector
    fill_xy_m: tuple[Point, ...] = ((0.0, 0.0),) * (len(LIGHTS) - 1)
    shadows: bool
    ambient: float
    front_pos_m: tuple[Vector, ...]  # of each fixed camera
    front_lookat_m: tuple[Vector, ...]
    front_fovy_deg: tuple[float, ...] = field(metadata=ONE_AS_NUMBER)
    wrist_pos_m: tuple[Vector, ...]  # of each wrist camera
    wrist_tilt_rad: tuple[Vector, ...]
    wrist_fovy_deg: tuple[float, ...] = field(metadata=ONE_AS_NUMBER)
    exposure: tuple[float, ...]  # of each camera, and so on
    gamma: tuple[float, ...]
    white_balance: tuple[tuple[float, float], ...]  # red and blue
    image_noise: tuple[float, ...]
    motion_blur_px: tuple[float, ...]
    jpeg_quality: tuple[float, ...]
    dropped_frames: float
    joint_damping: tuple[float, ...]
    joint_friction_nm: tuple[float, ...]
    joint_armature: float
    servo_gain: float
    payload_kg: float
    base_pos_m: Point
    base_yaw_rad: float
    encoder_bias_rad: tuple[float, ...]
    encoder_noise_rad: float
    start_xyz_m: Vector
    start_yaw_rad: float
    gripper_speed: float
    gripper_force: float
    pad_friction: float
    action_delay_s: float
    action_jitter_s: float
    observation_delay_s: float
    state_lead_s: float
    camera_skew_s: tuple[float, ...] | None = None  # None: no camera is later than another
    observation_jitter_s: float = 0.0
    depth_noise_px: tuple[float, ...] | None = None  # of each camera; None: none measures depth
    depth_holes: tuple[float, ...] | None = None
    noise_seed: int  # of everything that changes within the episode


def draw_randomization(
    rng: np.random.Generator, ranges: RandomizeConfig, robot: Robot, objects: int, targets: int
) -> Randomization:
    """Draw every value of one episode. objects, targets: how many the scene holds.

    New terms are drawn last: a seed stays the episode it was.
    """
    draw = _Draw(rng)
    first = _first_terms(draw, ranges, robot, objects, targets)
    return Randomization(**first, **_later_terms(draw, ranges, robot), **_last_terms(draw, ranges, robot, objects))


def with_depth(drawn: Randomization, ranges: RandomizeConfig, cameras: int) -> Randomization:
    """Return what was drawn with how so many cameras measure depth: drawn apart, so that nothing else changes by it."""
    draw = _Draw(np.random.default_rng([drawn.noise_seed, DEPTH_STREAM]))
    return replace(
        drawn,
        depth_noise_px=draw.numbers(ranges.depth_noise_px, cameras),
        depth_holes=draw.numbers(ranges.depth_holes, cameras),
    )


class _Draw:
    """Uniform numbers of a generator, as the fields of `Randomization` hold them."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    def number(self, bounds: Range) -> float:
        return float(self.rng.uniform(*bounds))

    def numbers(self, bounds: Range, n: int) -> tuple[float, ...]:
        return tuple(self.rng.uniform(*bounds, n).tolist())

    def vectors(self, bounds: Range, n: int, size: int = 3) -> tuple:
        """Draw `n` vectors of `size` numbers."""
        return tuple(tuple(row) for row in np.reshape(self.numbers(bounds, n * size), (n, size)).tolist())


def _first_terms(draw: _Draw, ranges: RandomizeConfig, robot: Robot, objects: int, targets: int) -> dict[str, Any]:
    fixed, wrist = len(robot.fixed_cameras), len(robot.wrist_cameras)
    textured = draw.rng.random() < ranges.table_textured
    texture = 1 + int(draw.rng.integers(ranges.table_textures))
    return {
        "object_scale": draw.numbers(ranges.object_scale, objects),
        "object_mass_kg": draw.numbers(ranges.object_mass_kg, objects),
        "object_friction": draw.numbers(ranges.object_friction, objects),
        "colour_hue": draw.numbers(ranges.colour_hue, objects + targets),
        "colour_value": draw.numbers(ranges.colour_value, objects + targets),
        "table_texture": texture if textured else 0,
        "table_rgb": (draw.number(ranges.table_value),) * 3 if textured else draw.numbers(ranges.table_value, 3),
        "light_xy_m": draw.numbers(ranges.light_pos_m, 2),
        "light_strength": draw.number(ranges.light_strength),
        "ambient": draw.number(ranges.ambient),
        "front_pos_m": draw.vectors(ranges.front_pos_m, fixed),
        "front_lookat_m": draw.vectors(ranges.front_lookat_m, fixed),
        "front_fovy_deg": draw.numbers(ranges.front_fovy_deg, fixed),
        "wrist_pos_m": draw.vectors(ranges.wrist_pos_m, wrist),
        "wrist_fovy_deg": draw.numbers(ranges.wrist_fovy_deg, wrist),
        "joint_damping": draw.numbers(ranges.joint_damping, robot.joints),
        "servo_gain": draw.number(ranges.servo_gain),
        "start_xyz_m": (*draw.numbers(ranges.start_xy_m, 2), draw.number(ranges.start_z_m)),
        "start_yaw_rad": draw.number(ranges.start_yaw_rad),
        "action_delay_s": draw.number(ranges.action_delay_s),
        "observation_delay_s": draw.number(ranges.observation_delay_s),
    }


def _later_terms(draw: _Draw, ranges: RandomizeConfig, robot: Robot) -> dict[str, Any]:
    cameras, joints = len(robot.cameras), robot.joints
    return {
        "table_friction": draw.number(ranges.table_friction),
        "table_height_m": draw.number(ranges.table_height_m),
        "light_tint": draw.numbers(ranges.light_tint, 3),
        "wrist_tilt_rad": draw.vectors(ranges.wrist_tilt_rad, len(robot.wrist_cameras)),
        "exposure": draw.numbers(ranges.exposure, cameras),
        "gamma": draw.numbers(ranges.gamma, cameras),
        "white_balance": draw.vectors(ranges.white_balance, cameras, 2),
        "image_noise": draw.numbers(ranges.image_noise, cameras),
        "motion_blur_px": draw.numbers(ranges.motion_blur_px, cameras),
        "jpeg_quality": draw.numbers(ranges.jpeg_quality, cameras),
        "dropped_frames": draw.number(ranges.dropped_frames),
        "joint_friction_nm": draw.numbers(ranges.joint_friction_nm, joints),
        "joint_armature": draw.number(ranges.joint_armature),
        "payload_kg": draw.number(ranges.payload_kg),
        "base_pos_m": draw.numbers(ranges.base_pos_m, 2),
        "base_yaw_rad": draw.number(ranges.base_yaw_rad),
        "encoder_bias_rad": draw.numbers(ranges.encoder_bias_rad, joints),
        "encoder_noise_rad": draw.number(ranges.encoder_noise_rad),
        "gripper_speed": draw.number(ranges.gripper_speed),
        "gripper_force": draw.number(ranges.gripper_force),
        "pad_friction": draw.number(ranges.pad_friction),
        "action_jitter_s": draw.number(ranges.action_jitter_s),
        "state_lead_s": draw.number(ranges.state_lead_s),
    }


def _last_terms(draw: _Draw, ranges: RandomizeConfig, robot: Robot, objects: int) -> dict[str, Any]:
    rng = draw.rng
    texture = 1 + int(rng.integers(len(BACKDROP_TEXTURES)))
    return {
        "backdrop_texture": texture if rng.random() < ranges.backdrop_textured else 0,
        "backdrop_rgb": draw.numbers(ranges.backdrop_value, 3),
        "lights": int(rng.integers(ranges.lights[0], ranges.lights[1] + 1)),
        "light_strengths": draw.numbers(ranges.fill_strength, len(LIGHTS)),
        "shadows": bool(rng.random() < ranges.shadows),
        "object_inertia": draw.numbers(ranges.object_inertia, objects),
        "object_patterns": tuple(
            1 + int(rng.integers(PATTERNS)) if rng.random() < ranges.object_textured else 0 for _ in range(objects)
        ),
        "noise_seed": int(rng.integers(2**31)),
        "camera_skew_s": draw.numbers(ranges.camera_skew_s, len(robot.cameras)),
        "observation_jitter_s": draw.number(ranges.observation_jitter_s),
        "fill_xy_m": draw.vectors(ranges.light_pos_m, len(LIGHTS) - 1, 2),
    }
