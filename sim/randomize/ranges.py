"""Domain randomization: named terms with a range, drawn by a generator.

`randomization.py` draws from them; `conf/randomize/` holds the groups.
"""

from dataclasses import dataclass, fields

from sim.core.options import CHECKS, NOT_EMPTY, PROBABILITY, Options, Span, between, one_of, option, span
from sim.scene.build import Inventory
from sim.scene.fixtures import LIGHTS, TABLE_TEXTURES
from sim.scene.parts import MAX_SCALE
from sim.scene.shapes import SHAPES

Range = tuple[float, float]
Count = tuple[int, int]
SHAPE_NAMES = one_of(*SHAPES)


@dataclass(frozen=True)
class RandomizeConfig(Options):
    """Ranges, each (low, high), drawn uniformly once per episode; single numbers are probabilities or counts."""

    # objects
    object_scale: Range = option((0.9, 1.1), "factor of their size", span(0.5, MAX_SCALE))
    object_mass_kg: Range = option((0.05, 0.15), "of each", span(0.001, 3.0))
    object_inertia: Range = option((1.0, 1.0), "factor of the moments of inertia", span(0.2, 5.0))
    object_friction: Range = option((0.8, 1.2), "sliding, of each", span(0.0, 5.0))
    object_textured: float = option(0.0, "probability that an object has a pattern", PROBABILITY)
    colour_hue: Range = option((-0.02, 0.02), "added, of a full turn", span(-0.5, 0.5))
    colour_value: Range = option((0.85, 1.1), "factor of the brightness of their colours", span(0.0, 2.0))
    shapes: tuple[str, ...] = option(("cube",), "of the task's objects", SHAPE_NAMES, NOT_EMPTY)
    distractors: Count = option((0, 0), "objects beside the task's", span(0, 6))
    distractor_shapes: tuple[str, ...] = option(
        ("can", "bottle", "mug", "book", "ball"), "of the distractors", SHAPE_NAMES, NOT_EMPTY
    )
    paraphrase: float = option(0.0, "probability of a wording from the grammar", PROBABILITY)
    # table and background
    table_textured: float = option(0.6, "probability that the table has an image", PROBABILITY)
    table_textures: int = option(8, "so many of the images", between(1, len(TABLE_TEXTURES)))
    table_value: Range = option((0.35, 0.95), "brightness", span(0.0, 1.0))
    # MuJoCo takes the larger of two friction coefficients: this one counts where an object has less, never by default,
    # for one object in five of randomize=full. To make things slide better, lower object_friction as well.
    table_friction: Range = option((0.8, 0.8), "sliding, under objects that have less", span(0.0, 5.0))
    table_height_m: Range = option((0.0, 0.0), "above the foot of the arm", span(-0.03, 0.03))
    backdrop_textured: float = option(0.0, "probability; a wall behind the arm stands there when above 0", PROBABILITY)
    backdrop_value: Range = option((0.3, 1.0), "brightness of the wall", span(0.0, 1.0))
    # lights
    light_pos_m: Range = option((-0.35, 0.35), "added to x and y of each", span(-1.0, 1.0))
    light_strength: Range = option((0.4, 0.8), "of the key light", span(0.0, 2.0))
    fill_strength: Range = option((0.15, 0.6), "of each light beside the key light", span(0.0, 2.0))
    light_tint: Range = option((1.0, 1.0), "factor of each colour", span(0.0, 2.0))
    lights: Count = option((1, 1), "how many are lit", span(0, len(LIGHTS)))
    shadows: float = option(1.0, "probability that the key light casts them", PROBABILITY)
    ambient: Range = option((0.2, 0.4), "light from everywhere", span(0.0, 1.0))
    # cameras
    front_pos_m: Range = option((-0.02, 0.02), "of the front camera, added per axis", span(-0.3, 0.3))
    front_lookat_m: Range = option((-0.01, 0.01), "of the point it looks at, added per axis", span(-0.15, 0.15))
    front_fovy_deg: Range = option((-1.0, 1.0), "added", span(-20.0, 20.0))
    wrist_pos_m: Range = option((-0.002, 0.002), "of the wrist camera, added per axis", span(-0.03, 0.03))
    wrist_tilt_rad: Range = option((0.0, 0.0), "added about each axis", span(-0.3, 0.3))
    wrist_fovy_deg: Range = option((-1.0, 1.0), "added", span(-20.0, 20.0))
    exposure: Range = option((1.0, 1.0), "factor of the brightness of an image", span(0.05, 10.0))
    gamma: Range = option((1.0, 1.0), "exponent of the image", span(0.2, 5.0))
    white_balance: Range = option((1.0, 1.0), "factor of red and of blue", span(0.2, 5.0))
    image_noise: Range = option((0.0, 0.0), "standard deviation, of 255", span(0.0, 128.0))
    motion_blur_px: Range = option((0.0, 0.0), "length of the smear", span(0.0, 16.0))
    jpeg_quality: Range = option((100.0, 100.0), "of the compression; 100: not compressed", span(5.0, 100.0))
    dropped_frames: Range = option((0.0, 0.0), "probability that an image is the one before", span(0.0, 0.9))
    depth_noise_px: Range = option((0.03, 0.1), "standard deviation of a disparity, with render.depth", span(0.0, 2.0))
    depth_holes: Range = option((0.0, 0.02), "share of pixels without depth, with render.depth", span(0.0, 0.9))
    # arm
    joint_damping: Range = option((0.8, 1.25), "factor", span(0.05, 20.0))
    joint_friction_nm: Range = option((0.0, 0.0), "dry friction of each joint", span(0.0, 20.0))
    joint_armature: Range = option((1.0, 1.0), "factor of the motors' inertia", span(0.1, 10.0))
    servo_gain: Range = option((0.85, 1.15), "factor", span(0.1, 5.0))
    payload_kg: Range = option((0.0, 0.0), "at the flange, that the controller does not know of", span(0.0, 3.0))
    base_pos_m: Range = option((0.0, 0.0), "where the arm stands, added to x and y", span(-0.05, 0.05))
    base_yaw_rad: Range = option((0.0, 0.0), "turned about z", span(-0.2, 0.2))
    encoder_bias_rad: Range = option((0.0, 0.0), "of each joint", span(-0.05, 0.05))
    encoder_noise_rad: Range = option((0.0, 0.0), "standard deviation", span(0.0, 0.1))
    start_xy_m: Range = option((-0.08, 0.08), "of the tool, added to the home pose's", span(-0.15, 0.15))
    start_z_m: Range = option((-0.05, 0.05), "added", span(-0.15, 0.2))
    start_yaw_rad: Range = option((-0.4, 0.4), "added", span(-1.6, 1.6))
    # gripper
    gripper_speed: Range = option((1.0, 1.0), "factor", span(0.05, 10.0))
    gripper_force: Range = option((1.0, 1.0), "factor", span(0.05, 10.0))
    pad_friction: Range = option((1.2, 1.2), "sliding, of the gripper pads", span(0.0, 5.0))
    # time
    action_delay_s: Range = option((0.0, 0.016), "until a command takes effect", span(0.0, 1.0))
    action_jitter_s: Range = option((0.0, 0.0), "up to so much more, anew for every action", span(0.0, 1.0))
    observation_delay_s: Range = option((0.0, 0.030), "age of the images when they are handed out", span(0.0, 0.2))
    state_lead_s: Range = option(
        (0.0, 0.0), "the joints are read so much later than the image was taken", span(0.0, 0.2)
    )
    camera_skew_s: Range = option((0.0, 0.0), "each camera's images are so much older still", span(0.0, 0.1))
    observation_jitter_s: Range = option(
        (0.0, 0.0), "up to so much older, anew for every image, within its policy period", span(0.0, 0.1)
    )

    @property
    def inventory(self) -> Inventory:
        """Return what the scene must hold for these ranges."""
        backdrop = self.backdrop_textured > 0.0
        return Inventory(
            tuple(self.shapes), tuple(self.distractor_shapes), self.distractors[1], self.lights[1], backdrop,
            self.table_textures,
        )  # fmt: skip


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


def bounds(term: str) -> tuple[float, float]:
    """Return what the range of a term may hold: beyond, it would be unphysical or show nothing of the task."""
    field = RandomizeConfig.__dataclass_fields__[term]
    (check,) = (one for one in field.metadata[CHECKS] if isinstance(one, Span))
    return check.low, check.high
