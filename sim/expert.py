"""The scripted expert for pick and place: it knows the world, plans way-points by IK and times them
with jerk-limited profiles, as an agent of the same loop that runs a policy.

Speed, approach height, grasp yaw and blending vary from episode to episode. In some episodes the
arm is pushed off its way; those frames are flagged `perturbed` (their actions are not what an
expert wants) and the recovery that follows is clean data.

It lets go anywhere over the middle of the plate and from touching it to well above it. An expert that
always lets go at one point teaches a policy, which never reaches a point exactly, never to let go.
"""

from dataclasses import dataclass

import numpy as np
from ruckig import InputParameter, OutputParameter, Result, Ruckig

from sim.contract import POLICY_PERIOD_S, Observation
from sim.env import SimEnv
from sim.kinematics import ToolKinematics, tool_down
from sim.scene import CUBE_HALF_M

# How the wrist may turn when its range does not allow the yaw: to another face of a cube that is to be
# grasped; by little when the cube is held and any yaw will do.
FACES = (0.0, np.pi / 2, -np.pi / 2, np.pi)
LEAST_TURNS = (0.0, np.pi / 6, -np.pi / 6, np.pi / 3, -np.pi / 3, np.pi / 2, -np.pi / 2)
PUSHES = {"approach": 0.15, "descend": 0.15, "carry": 0.15, "lower": 0.15, "miss": 0.4}  # shares


@dataclass(frozen=True)
class Phase:
    """One leg of the motion: go to `joints_rad` with the gripper at `opening`, then `wait`."""

    name: str
    joints_rad: np.ndarray
    opening: float
    blend_rad: float = 0.0  # go on when closer than this; 0: arrive at rest
    wait: str = ""  # "gripper": until the fingers no longer move


@dataclass(frozen=True)
class Style:
    """What varies between two experts."""

    speed: float  # of the policy's limit
    accel_rad_s2: float
    hover_m: float
    carry_m: float
    grasp_height_m: float
    release_gap_m: float
    blend_rad: float
    other_yaw: bool
    place_offset_m: np.ndarray
    push: str  # the phase in which the arm is pushed, "miss": down beside the cube; "" when nothing pushes it

    @staticmethod
    def draw(rng: np.random.Generator, perturb: float) -> "Style":
        return Style(
            speed=rng.uniform(0.5, 0.95),
            accel_rad_s2=rng.uniform(3.0, 6.0),
            hover_m=rng.uniform(0.07, 0.12),
            carry_m=rng.uniform(0.08, 0.13),
            grasp_height_m=rng.uniform(-0.003, 0.004),
            release_gap_m=rng.uniform(0.0, 0.015),
            blend_rad=rng.uniform(0.03, 0.10),
            other_yaw=bool(rng.random() < 0.15),
            place_offset_m=rng.uniform(-0.011, 0.011, 2),
            push=str(rng.choice(list(PUSHES), p=list(PUSHES.values()))) if rng.random() < perturb else "",
        )


class Expert:
    """Plays the task in a `SimEnv` from privileged state. Satisfies `sim.loop.Agent`."""

    def __init__(self, env: SimEnv, perturb: float = 0.5):
        self._env = env
        self._perturb = perturb
        self._kinematics = ToolKinematics(env.robot)
        self._otg = Ruckig(env.robot.joints, POLICY_PERIOD_S)

    def reset(self, observation: Observation, seed: int) -> None:
        """Plan from the present state of the world, whatever it is."""
        self._rng = np.random.default_rng([seed, 1])
        self.style = Style.draw(self._rng, self._perturb)
        self._push_left, self._pushes_left = 0, 1
        self._openings = [float(observation.state[-1])]
        self._plan_in, self._plan_out = self._timing()
        self._replan()

    def act(self, observation: Observation) -> np.ndarray:
        """The next joint target and gripper opening."""
        self._openings.append(self._env.world.state()[-1])
        if self._push_left:
            self._push_left -= 1
            if not self._push_left:
                self._replan()
        elif self._should_push():
            self._start_push()
        elif self._phase_is_over():
            self._next_phase()
        return self._advance()

    def flags(self) -> dict[str, bool]:
        return {"perturbed": self._push_left > 0}

    # ---- timing --------------------------------------------------------------------------------

    def _timing(self) -> tuple[InputParameter, OutputParameter]:
        robot, n = self._env.robot, self._env.robot.joints
        plan = InputParameter(n)
        plan.max_velocity = [self.style.speed * robot.policy_speed_rad_s] * n
        plan.max_acceleration = [self.style.accel_rad_s2] * n
        plan.max_jerk = [10 * self.style.accel_rad_s2] * n
        limit = 0.99 * self.style.speed * robot.policy_speed_rad_s
        plan.current_position = self._env.commanded_rad.tolist()
        plan.current_velocity = np.clip(self._env.commanded_rad_s, -limit, limit).tolist()
        return plan, OutputParameter(n)

    def _advance(self) -> np.ndarray:
        target = self._push_joints if self._push_left else self._phase.joints_rad
        self._plan_in.target_position = target.tolist()
        self._arrived = self._otg.update(self._plan_in, self._plan_out) == Result.Finished
        self._plan_out.pass_to_input(self._plan_in)
        if self._arrived:  # what rounding leaves of the speed makes the next plan fail
            self._plan_in.current_position = target.tolist()
            self._plan_in.current_velocity = self._plan_in.current_acceleration = [0.0] * len(target)
        self._steps_in_phase += 1
        opening = self._push_opening if self._push_left else self._phase.opening
        return np.array([*self._plan_in.current_position, opening], np.float32)

    # ---- phases --------------------------------------------------------------------------------

    @property
    def _phase(self) -> Phase:
        return self._phases[0]

    def _phase_is_over(self) -> bool:
        phase = self._phase
        if phase.wait == "gripper":
            still = np.ptp(self._openings[-3:]) < 0.01
            return self._steps_in_phase >= 4 and still
        if phase.blend_rad:
            left = np.abs(np.array(self._plan_in.current_position) - phase.joints_rad).max()
            return left < phase.blend_rad
        return self._arrived and self._steps_in_phase > 1

    def _next_phase(self) -> None:
        missed = self._phase.name in ("close", "lift") and not self._holding()
        if missed or len(self._phases) == 1:
            self._replan()
        else:
            self._phases = self._phases[1:]
            self._steps_in_phase = 0

    def _holding(self) -> bool:
        tool_w = self._env.world.data.site_xpos[self._env.world.scene.tcp_site]
        near = np.linalg.norm(self._object_pos_w() - tool_w) < 0.02
        return bool(near and self._openings[-1] < 0.75)

    # ---- planning ------------------------------------------------------------------------------

    def _object_pos_w(self) -> np.ndarray:
        return self._env.world.task.object_pos_w(self._env.world.scene, self._env.world.data)

    def _replan(self) -> None:
        """The legs that lead from here to success: again from the start after a miss or a push."""
        self._steps_in_phase = 0
        self._arrived = False
        joints = np.array(self._plan_in.current_position)
        self._phases: list[Phase] = []
        world = self._env.world
        if world.success():
            self._add_retreat(joints, world.data.site_xpos[world.scene.tcp_site])
        elif self._holding():
            yaw = self._tool_yaw()
            self._add_place(joints, world.data.site_xpos[world.scene.tcp_site], yaw)
        else:
            self._add_pick(joints)

    def _tool_yaw(self) -> float:
        rotation = self._env.world.data.site_xmat[self._env.world.scene.tcp_site].reshape(3, 3)
        return float(np.arctan2(rotation[1, 1], rotation[0, 1]))

    def _add(
        self, name: str, joints: np.ndarray, pos_w, yaw: float, opening: float, turns=FACES, **how
    ) -> np.ndarray:  # fmt: skip
        """Append a leg to the pose; the wrist turns by the first of `turns` that its range allows."""
        poses = (self._kinematics.inverse(pos_w, tool_down(yaw + turn), joints) for turn in turns)
        solved = next((pose for pose in poses if pose is not None), joints)  # out of reach: stay, and time out
        self._phases.append(Phase(name, solved, opening, **how))
        return solved

    def _add_pick(self, joints: np.ndarray) -> None:
        style, cube = self.style, self._object_pos_w()
        yaw = self._grasp_yaw()
        tool = self._env.world.data.site_xpos[self._env.world.scene.tcp_site]
        low = tool[2] < 0.06 and np.linalg.norm(tool[:2] - cube[:2]) > 0.01
        if low:  # rise before moving sideways, so that nothing is swept away
            joints = self._add("rise", joints, [*tool[:2], 0.09], self._tool_yaw(), 1.0, blend_rad=style.blend_rad)
        height = cube[2] + style.hover_m
        joints = self._add("approach", joints, [*cube[:2], height], yaw, 1.0, blend_rad=style.blend_rad / 2)
        grasp = [*cube[:2], max(cube[2] + style.grasp_height_m, 0.014)]
        joints = self._add("descend", joints, grasp, yaw, 1.0)
        self._phases.append(Phase("close", joints, 0.0, wait="gripper"))
        self._add_place(joints, np.array(grasp), yaw)

    def _add_place(self, joints: np.ndarray, tool_w: np.ndarray, yaw: float) -> None:
        style, world = self.style, self._env.world
        plate = world.task.target_pos_w(world.scene, world.data)
        goal = plate[:2] + style.place_offset_m
        grip = np.clip(tool_w[2] - self._object_pos_w()[2], -0.01, 0.01)  # tool above the cube's centre
        lift_z = max(style.carry_m, 0.08)
        blend = style.blend_rad
        joints = self._add("lift", joints, [*tool_w[:2], lift_z], yaw, 0.0, blend_rad=blend)
        joints = self._add("carry", joints, [*goal, lift_z], yaw, 0.0, turns=LEAST_TURNS, blend_rad=blend / 2)
        yaw = self._yaw_of(joints)
        down = plate[2] + CUBE_HALF_M + style.release_gap_m + grip
        joints = self._add("lower", joints, [*goal, down], yaw, 0.0)
        self._phases.append(Phase("open", joints, 1.0, wait="gripper"))
        self._add_retreat(joints, np.array([*goal, down]))

    def _add_retreat(self, joints: np.ndarray, tool_w: np.ndarray) -> None:
        yaw = self._tool_yaw() if not self._phases else self._yaw_of(joints)
        self._add("retreat", joints, [*tool_w[:2], tool_w[2] + 0.10], yaw, 1.0)

    def _yaw_of(self, joints: np.ndarray) -> float:
        rotation = self._kinematics.forward(joints)[1]
        return float(np.arctan2(rotation[1, 1], rotation[0, 1]))

    def _grasp_yaw(self) -> float:
        """Finger direction across two faces of the cube: the clear one that turns the wrist least."""
        world = self._env.world
        rotation = world.data.xmat[world.scene.cubes[0]].reshape(3, 3)
        axis = rotation[:, np.argmax(np.abs(rotation[0]) * (np.abs(rotation[2]) < 0.5))]
        face, now = np.arctan2(axis[1], axis[0]), self._tool_yaw()
        turns = [(face + k * np.pi / 2 - now + np.pi / 2) % np.pi - np.pi / 2 for k in range(2)]
        yaws = [now + turn for turn in sorted(turns, key=abs)]
        if self.style.other_yaw:
            yaws.reverse()
        return float(max(yaws, key=lambda yaw: min(self._clearance_m(yaw), 0.045)))

    def _clearance_m(self, yaw: float) -> float:
        """Distance from the open fingers to the nearest other cube's centre."""
        world = self._env.world
        fingers = self._object_pos_w()[:2] + 0.052 * np.outer([1, -1], [np.cos(yaw), np.sin(yaw)])
        others = world.data.xpos[world.scene.cubes[1:], :2]
        return float(np.linalg.norm(fingers[:, None] - others[None], axis=-1).min())

    # ---- pushes --------------------------------------------------------------------------------

    def _should_push(self) -> bool:
        phase = "descend" if self.style.push == "miss" else self.style.push
        return self._pushes_left > 0 and self._phase.name == phase and self._steps_in_phase == 3

    def _start_push(self) -> None:
        """Push the arm aside for 0.3-0.6 s, as a bump would, or beside the cube for 0.6-0.9 s, as a policy does."""
        rng, joints = self._rng, np.array(self._plan_in.current_position)
        pos_w, _ = self._kinematics.forward(joints)
        self._push_opening = self._phase.opening
        steps = int(rng.integers(6, 13))
        if self.style.push == "miss":
            angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(0.015, 0.045)
            cube = self._object_pos_w()
            aside = distance * np.array([np.cos(angle), np.sin(angle)])
            pos_w = np.array([*(cube[:2] + aside), cube[2] + rng.uniform(-0.006, 0.030)])
            self._push_opening = float(rng.choice([0.0, 1.0]))
            steps += 6
        else:
            pos_w = pos_w + [*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.0, 0.04)]
        yaw = self._yaw_of(joints) + rng.uniform(-0.3, 0.3)
        target = self._kinematics.inverse(pos_w, tool_down(yaw), joints)
        self._pushes_left -= 1
        if target is not None:
            self._push_joints, self._push_left = target, steps
