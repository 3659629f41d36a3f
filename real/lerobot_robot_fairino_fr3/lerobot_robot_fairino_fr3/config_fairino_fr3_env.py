"""The simulated bench as LeRobot's environment, `--env.type=fairino_fr3 --env.task=pick_place`."""

from dataclasses import dataclass, field

import gymnasium
from lerobot.configs import FeatureType, PolicyFeature  # pyright: ignore[reportMissingImports]
from lerobot.envs.configs import EnvConfig  # pyright: ignore[reportMissingImports]

from lerobot_robot_fairino_fr3.bench import PACKAGE
from sim.core.errors import UserError
from sim.robots.fairino_fr3 import fairino_fr3
from sim.scene.build import PHYSICS_DT_S
from sim.tasks.base import TASKS

ROBOT = fairino_fr3()
RATES = tuple(hz for hz in range(1, 126) if round(1 / PHYSICS_DT_S) % hz == 0)

for _task in TASKS.names():
    if f"{PACKAGE}/{_task}" not in gymnasium.registry:
        gymnasium.register(f"{PACKAGE}/{_task}", entry_point=f"{PACKAGE}.bench:make_bench", kwargs={"task": _task})


@EnvConfig.register_subclass("fairino_fr3")
@dataclass
class FairinoFR3Env(EnvConfig):
    """task: one of sim.tasks; episodes are randomized as the project's own are. fps: actions a second.

    UserError for a task that there is not, or a rate that the robot cannot take.
    """

    task: str | None = "pick_place"
    fps: int = ROBOT.control_hz
    image_height: int = 96
    image_width: int = 96
    features: dict = field(default_factory=dict)
    features_map: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.task = TASKS.get(self.task or "").name
        if self.fps not in RATES:
            raise UserError(f"fps={self.fps}: expected one of {', '.join(map(str, RATES))}, at which a period is whole")
        picture = PolicyFeature(type=FeatureType.VISUAL, shape=(self.image_height, self.image_width, 3))
        self.features = {
            "action": PolicyFeature(type=FeatureType.ACTION, shape=(ROBOT.action_dim,)),
            "agent_pos": PolicyFeature(type=FeatureType.STATE, shape=(ROBOT.action_dim,)),
            **{f"pixels/{camera}": picture for camera in ROBOT.camera_names},
        }
        self.features_map = {
            "action": "action",
            "agent_pos": "observation.state",
            **{f"pixels/{camera}": f"observation.images.{camera}" for camera in ROBOT.camera_names},
        }

    @property
    def package_name(self) -> str:
        return PACKAGE

    @property
    def gym_kwargs(self) -> dict:
        return {"height": self.image_height, "width": self.image_width, "fps": self.fps}
