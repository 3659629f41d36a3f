"""Domain randomization: named terms with a range, drawn by a generator.

`randomization.py` draws from them; `conf/randomize/` holds the groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from sim.core.errors import UserError, nearest
from sim.scene.build import Inventory
from sim.scene.fixtures import LIGHTS, TABLE_TEXTURES
from sim.scene.parts import MAX_SCALE
from sim.scene.shapes import SHAPES

Range = tuple[float, float]
Count = tuple[int, int]

# What each range may hold: beyond, it would be unphysical (a negative damping) or show nothing of the task.
BOUNDS: dict[str, tuple[float, float]] = {
    "object_scale": (0.5, MAX_SCALE), "object_mass_kg": (0.001, 3.0), "object_inertia": (0.2, 5.0),
    "object_friction": (0.0, 5.0), "colour_hue": (-0.5, 0.5), "colour_value": (0.0, 2.0), "distractors": (0, 6),
    "table_value": (0.0, 1.0), "table_friction": (0.0, 5.0), "table_height_m": (-0.03, 0.03),
    "light_pos_m": (-1.0, 1.0), "light_strength": (0.0, 2.0), "light_tint": (0.0, 2.0), "lights": (0, len(LIGHTS)),
    "ambient": (0.0, 1.0),
    "front_pos_m": (-0.3, 0.3), "front_lookat_m": (-0.15, 0.15), "front_fovy_deg": (-20.0, 20.0),
    "wrist_pos_m": (-0.03, 0.03), "wrist_tilt_rad": (-0.3, 0.3), "wrist_fovy_deg": (-20.0, 20.0),
    "exposure": (0.05, 10.0), "gamma": (0.2, 5.0), "white_balance": (0.2, 5.0), "image_noise": (0.0, 128.0),
    "motion_blur_px": (0.0, 16.0), "jpeg_quality": (5.0, 100.0), "dropped_frames": (0.0, 0.9),
    "joint_damping": (0.05, 20.0), "joint_friction_nm": (0.0, 20.0), "joint_armature": (0.1, 10.0),
    "servo_gain": (0.1, 5.0), "payload_kg": (0.0, 3.0), "base_pos_m": (-0.05, 0.05), "base_yaw_rad": (-0.2, 0.2),
    "encoder_bias_rad": (-0.05, 0.05), "encoder_noise_rad": (0.0, 0.1),
    "start_xy_m": (-0.15, 0.15), "start_z_m": (-0.15, 0.2), "start_yaw_rad": (-1.6, 1.6),
    "gripper_speed": (0.05, 10.0), "gripper_force": (0.05, 10.0), "pad_friction": (0.0, 5.0),
    "action_delay_s": (0.0, 1.0), "action_jitter_s": (0.0, 1.0),
    "observation_delay_s": (0.0, 0.2), "state_lead_s": (0.0, 0.2), "camera_skew_s": (0.0, 0.1),
    "observation_jitter_s": (0.0, 0.1), "fill_strength": (0.0, 2.0), "backdrop_value": (0.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class RandomizeConfig:
    """Ranges, each (low, high), drawn uniformly once per episode; single numbers are probabilities or counts."""

    # objects
    object_scale: Range = (0.9, 1.1)  # factor
    object_mass_kg: Range = (0.05, 0.15)
    object_inertia: Range = (1.0, 1.0)  # factor
    object_friction: Range = (0.8, 1.2)
    object_textured: float = 0.0  # probability of each
    colour_hue: Range = (-0.02, 0.02)  # added, of a full turn
    colour_value: Range = (0.85, 1.1)  # factor
    shapes: tuple[str, ...] = ("cube",)  # of the objects
    distractors: Count = (0, 0)  # objects beside the task's
    distractor_shapes: tuple[str, ...] = ("can", "bottle", "mug", "book", "ball")
    paraphrase: float = 0.0  # probability of a wording from the grammar
    # table and background
    table_textured: float = 0.6  # probability
    table_textures: int = 8  # so many of the images
    table_value: Range = (0.35, 0.95)
    table_friction: Range = (0.8, 0.8)
    table_height_m: Range = (0.0, 0.0)  # above the foot of the arm
    backdrop_textured: float = 0.0  # probability; a wall behind the arm stands there when above 0
    backdrop_value: Range = (0.3, 1.0)
    # lights
    light_pos_m: Range = (-0.35, 0.35)  # added to x and y of each
    light_strength: Range = (0.4, 0.8)
    fill_strength: Range = (0.15, 0.6)  # of each light beside the key light
    light_tint: Range = (1.0, 1.0)  # factor of each colour
    lights: Count = (1, 1)
    shadows: float = 1.0  # probability that the key light casts them
    ambient: Range = (0.2, 0.4)
    # cameras
    front_pos_m: Range = (-0.02, 0.02)  # added per axis
    front_lookat_m: Range = (-0.01, 0.01)
    front_fovy_deg: Range = (-1.0, 1.0)
    wrist_pos_m: Range = (-0.002, 0.002)
    wrist_tilt_rad: Range = (0.0, 0.0)  # added about each axis
    wrist_fovy_deg: Range = (-1.0, 1.0)
    exposure: Range = (1.0, 1.0)  # factor
    gamma: Range = (1.0, 1.0)
    white_balance: Range = (1.0, 1.0)  # factor of red and of blue
    image_noise: Range = (0.0, 0.0)  # standard deviation, of 255
    motion_blur_px: Range = (0.0, 0.0)
    jpeg_quality: Range = (100.0, 100.0)  # 100: not compressed
    dropped_frames: Range = (0.0, 0.0)  # probability of each image
    # arm
    joint_damping: Range = (0.8, 1.25)  # factor
    joint_friction_nm: Range = (0.0, 0.0)
    joint_armature: Range = (1.0, 1.0)  # factor
    servo_gain: Range = (0.85, 1.15)  # factor
    payload_kg: Range = (0.0, 0.0)  # that the controller does not know of
    base_pos_m: Range = (0.0, 0.0)  # where the arm stands, added to x and y
    base_yaw_rad: Range = (0.0, 0.0)
    encoder_bias_rad: Range = (0.0, 0.0)
    encoder_noise_rad: Range = (0.0, 0.0)  # standard deviation
    start_xy_m: Range = (-0.08, 0.08)  # of the tool, added to the home pose's
    start_z_m: Range = (-0.05, 0.05)
    start_yaw_rad: Range = (-0.4, 0.4)
    # gripper
    gripper_speed: Range = (1.0, 1.0)  # factor
    gripper_force: Range = (1.0, 1.0)  # factor
    pad_friction: Range = (1.2, 1.2)
    # time
    action_delay_s: Range = (0.0, 0.016)
    action_jitter_s: Range = (0.0, 0.0)  # up to so much more, anew for every action
    observation_delay_s: Range = (0.0, 0.030)
    state_lead_s: Range = (0.0, 0.0)  # the joints are read so much later than the image was taken
    camera_skew_s: Range = (0.0, 0.0)  # each camera's images are so much older still
    observation_jitter_s: Range = (0.0, 0.0)  # up to so much older, anew for every image, within its policy period

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in (Range, Count):
                kind = float if field.type is Range else int
                object.__setattr__(self, field.name, _checked(field.name, value, kind))
            elif field.type is float and not 0.0 <= value <= 1.0:
                raise UserError(f"randomize.{field.name}={value}: expected a probability, 0 to 1")
        self._check_bounds()
        self._check_choices()

    def _check_bounds(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not low <= value[0] <= value[1] <= high:
                raise UserError(f"randomize.{name}={list(value)}: expected from {low:g} to {high:g}")

    def _check_choices(self) -> None:
        for name in ("shapes", "distractor_shapes"):
            for shape in getattr(self, name):
                if shape not in SHAPES:
                    raise UserError(nearest(shape, SHAPES, f"shape in randomize.{name}"))
            if not getattr(self, name):
                raise UserError(f"randomize.{name}=[]: expected at least one of {', '.join(SHAPES)}")
        if not 1 <= self.table_textures <= len(TABLE_TEXTURES):
            raise UserError(f"randomize.table_textures={self.table_textures}: expected 1 to {len(TABLE_TEXTURES)}")

    @property
    def inventory(self) -> Inventory:
        """Return what the scene must hold for these ranges."""
        backdrop = self.backdrop_textured > 0.0
        return Inventory(
            tuple(self.shapes), tuple(self.distractor_shapes), self.distractors[1], self.lights[1], backdrop,
            self.table_textures,
        )  # fmt: skip


def _checked(name: str, value: Sequence, kind: type) -> tuple:
    if not isinstance(value, list | tuple) or len(value) != 2 or value[0] > value[1]:
        shown = list(value) if isinstance(value, list | tuple) else value
        raise UserError(f"randomize.{name}={shown}: expected [low, high] with low <= high")
    return kind(value[0]), kind(value[1])


def nominal() -> RandomizeConfig:
    """Return every range at its neutral value: nothing varies but the layout."""
    factor = {"object_scale", "colour_value", "joint_damping", "servo_gain"}
    kept = {"object_mass_kg": 0.08, "object_friction": 1.0, "table_value": 0.6,
            "light_strength": 0.6, "fill_strength": 0.4, "ambient": 0.3, "backdrop_value": 0.6}  # fmt: skip
    values: dict = {"table_textured": 0.0}
    for field in fields(RandomizeConfig):
        low, high = value if isinstance(value := field.default, tuple) and field.type is Range else (0, 0)
        if low < high:
            middle = 1.0 if field.name in factor else kept.get(field.name, 0.0)
            values[field.name] = (middle, middle)
    return RandomizeConfig(**values)
