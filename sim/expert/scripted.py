"""The scripted expert: an agent that follows the waypoints a task plans from the simulator's state, with jerk-limited
profiles.

Speed, approach height, grasp yaw and blending vary from episode to episode, and so do its imperfections. Where the
arm is driven off its way, the frames are flagged `perturbed` (their actions are not to be imitated); the recovery
that follows is clean data.

It lets go anywhere over the middle of the plate and from touching it to well above it. An expert that
always lets go at one point teaches a policy, which never reaches a point exactly, never to let go.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from ruckig import ControlInterface, InputParameter, OutputParameter, Result, Ruckig

from sim.core.contract import Observation
from sim.envs.sim_env import SimEnv
from sim.expert.imperfections import FAILED_GRASP_M, KINDS, TICK_S, QualityConfig
from sim.planning.kinematics import tool_down
from sim.planning.motion_planner import MotionPlanner, MotionStyle, Waypoint

ACCEL_SHARE = 0.95  # of what the motion guard allows a stream of targets
FREE_WAYPOINTS = ("approach", "carry", "rise", "lift", "retreat")  # where noise or a pause does no harm in any task


class Expert:
    """Does the task of a `SimEnv` from privileged state. Satisfies `sim.episode.loop.Agent`."""

    def __init__(
        self, env: SimEnv, quality: QualityConfig = QualityConfig(), plan: Callable[[MotionPlanner], None] | None = None
    ):
        """plan: what it does instead of the task."""
        self._env = env
        self._plan = plan or env.world.task.plan
        self._quality = quality
        self._free_waypoints = {*FREE_WAYPOINTS, *env.world.task.free_waypoints}
        self._kinematics = env.world.kinematics
        self._period_s = env.robot.control_period_s
        self._otg = Ruckig(env.robot.joints, env.robot.control_period_s)

    def reset(self, observation: Observation, seed: int) -> None:
        """Plan from the present state of the simulation, whatever it is."""
        self._rng = np.random.default_rng([seed, 1])
        self.style = MotionStyle.draw(self._rng, self._quality.speed, self._quality.detour_m)
        self._imperfections, self._shown = self._quality.draw(self._rng), set[str]()
        self._steps = self._perturbed_left = self._pause_left = 0
        self._failing_grasp = self._retrying = False
        self._openings = [float(observation.state[-1])]
        self._planner = MotionPlanner(self._env.world.scene_state, self._kinematics, self.style)
        self._plan_in, self._plan_out = self._timing()
        self._replan()

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next joint target and gripper opening, (D,)."""
        self._openings.append(self._env.world.state()[-1])
        self._steps += 1
        if self._perturbed_left:
            self._perturbed_left -= 1
            if not self._perturbed_left:
                self._replan()
        elif self._pause_left:
            self._pause_left -= 1
        elif not self._begins_imperfection() and self._is_there():
            self._next_waypoint()
        return self._advance()

    def flags(self) -> dict[str, bool]:
        return {
            "perturbed": self._perturbed_left > 0,
            "hesitating": self._pause_left > 0,
            "failed_grasp": self._failing_grasp,
            "retrying": self._retrying,
        }

    def metadata(self) -> dict:
        """Return what kind of demonstration this is: its speed, and the imperfections that happened."""
        shown = (kind for kind in KINDS if kind in self._shown)
        return {"expert/speed": self.style.speed, "expert/imperfections": ",".join(shown)}

    # ---- timing --------------------------------------------------------------------------------

    def _timing(self) -> tuple[InputParameter, OutputParameter]:
        robot, n = self._env.robot, self._env.robot.joints
        plan = InputParameter(n)
        plan.max_velocity = [self.style.speed * robot.policy_speed_rad_s] * n
        accel_rad_s2 = min(self.style.accel_rad_s2, ACCEL_SHARE * robot.stream_accel_rad_s2)
        plan.max_acceleration = [accel_rad_s2] * n
        plan.max_jerk = [10 * accel_rad_s2] * n
        limit = 0.99 * self.style.speed * robot.policy_speed_rad_s
        plan.current_position = self._env.commanded_rad.tolist()
        plan.current_velocity = np.clip(self._env.commanded_rad_s, -limit, limit).tolist()
        return plan, OutputParameter(n)

    def _advance(self) -> np.ndarray:
        perturbed = self._perturbed_left > 0
        target = self._perturbed_joints if perturbed else self._waypoint.joints_rad
        speed = self.style.speed * (1.0 if perturbed else self._waypoint.speed)
        self._plan_in.max_velocity = [speed * self._env.robot.policy_speed_rad_s] * len(target)
        self._plan_in.control_interface = ControlInterface.Velocity if self._pause_left else ControlInterface.Position
        self._plan_in.target_position = target.tolist()
        self._arrived = self._otg.update(self._plan_in, self._plan_out) == Result.Finished
        self._plan_out.pass_to_input(self._plan_in)
        if self._arrived and not self._pause_left:  # what rounding leaves of the speed makes the next plan fail
            self._plan_in.current_position = target.tolist()
            self._plan_in.current_velocity = self._plan_in.current_acceleration = [0.0] * len(target)
        self._steps_on_way += 1
        opening = self._perturbed_opening if perturbed else self._waypoint.opening
        return np.array([*self._plan_in.current_position, opening], np.float32)

    # ---- waypoints -----------------------------------------------------------------------------

    @property
    def _waypoint(self) -> Waypoint:
        return self._waypoints[0]

    def _is_there(self) -> bool:
        waypoint = self._waypoint
        if waypoint.grips:
            if waypoint.opening > self._openings[-1] + 0.05 and self._steps_on_way < self._periods(20):
                return False  # before they open, the fingers relax their squeeze, which does not show
            still = np.ptp(self._openings[-1 - self._periods(2) :]) < 0.01
            return self._steps_on_way >= self._periods(4) and bool(still)
        if waypoint.blend_rad:
            left = np.abs(np.array(self._plan_in.current_position) - waypoint.joints_rad).max()
            return bool(left < waypoint.blend_rad)
        return self._arrived and self._steps_on_way > 1

    def _next_waypoint(self) -> None:
        self._planner.opening = self._openings[-1]
        missed = self._waypoint.holds >= 0 and not self._planner.holds(self._waypoint.holds)
        if self._waypoint.grips:
            self._retrying, self._failing_grasp = missed, False
        if missed or len(self._waypoints) == 1:
            self._replan()
        else:
            self._waypoints = self._waypoints[1:]
            self._steps_on_way = 0

    def _replan(self) -> None:
        """Plan the waypoints that lead from here to success: at the start, after a miss and after a perturbation."""
        self._steps_on_way = 0
        self._arrived = False
        if self._failing_grasp:  # driven off before it failed: another one has to
            self._failing_grasp = False
            self._imperfections.failed_grasps += 1
            self._shown.discard("failed_grasp")
        joints = np.array(self._plan_in.current_position)
        self._planner.begin(joints, self._openings[-1])
        self._plan(self._planner)
        self._waypoints = self._planner.waypoints or [
            Waypoint("wait", joints, self._openings[-1], self._planner.tool_pos_w)
        ]

    def _periods(self, ticks: int | np.integer) -> int:
        """Return how many policy periods so many ticks last, at least one."""
        return max(round(int(ticks) * TICK_S / self._period_s), 1)

    # ---- imperfections ---------------------------------------------------------------------------

    def _begins_imperfection(self) -> bool:
        """Begin what is due: a perturbation or a pause; a failed grasp takes the place of the good one."""
        due, waypoint = self._imperfections, self._waypoint
        begun = self._steps_on_way == self._periods(3)
        if due.perturbed_waypoint == waypoint.name and begun:
            due.perturbed_waypoint = ""
            return self._perturb("perturbation", self._aside_w(0.05), steps=self._periods(self._rng.integers(6, 13)))
        if due.near_misses and waypoint.name == "descend" and begun:
            due.near_misses -= 1
            opening = float(self._rng.choice([0.0, 1.0]))
            beside_w, steps = self._beside_w(0.015, 0.045), self._periods(self._rng.integers(12, 19))
            return self._perturb("near_miss", beside_w, steps, opening)
        if due.failed_grasps and waypoint.name == "descend" and self._steps_on_way == 1:
            self._fail_grasp()
            return False
        return waypoint.name in self._free_waypoints and self._is_disturbed()

    def _is_disturbed(self) -> bool:
        """Begin or go on with noise or a pause whose time has come; whether there is any."""
        due = self._imperfections
        if due.noise_ticks and self._periods(due.noise_ticks[0]) <= self._steps:
            due.noise_ticks = due.noise_ticks[1:]
            return self._perturb("noise", self._aside_w(0.02), steps=self._periods(self._rng.integers(3, 6)))
        if due.pause_ticks and self._periods(due.pause_ticks[0]) <= self._steps:
            due.pause_ticks = due.pause_ticks[1:]
            self._pause_left = self._periods(self._rng.integers(8, 25))
            self._shown.add("hesitation")
        return self._pause_left > 0

    def _aside_w(self, reach_m: float) -> np.ndarray:
        """Draw a point (3,) m, up to `reach_m` aside from where the tool is commanded, and not lower."""
        pos_w, _ = self._kinematics.forward(np.array(self._plan_in.current_position))
        return pos_w + [*self._rng.uniform(-reach_m, reach_m, 2), self._rng.uniform(0.0, 0.8 * reach_m)]

    def _beside_w(self, low_m: float, high_m: float) -> np.ndarray:
        """Draw a point (3,) m, low beside the waypoint, as of a policy that misses."""
        angle, distance = self._rng.uniform(-np.pi, np.pi), self._rng.uniform(low_m, high_m)
        return self._waypoint.tool_pos_w + [
            distance * np.cos(angle), distance * np.sin(angle), self._rng.uniform(-0.006, 0.030)
        ]  # fmt: skip

    def _perturb(self, kind: str, pos_w: np.ndarray, steps: int, opening: float | None = None) -> bool:
        """Drive the arm to `pos_w` for `steps` periods, an imperfection of this kind; whether it can be reached."""
        joints = np.array(self._plan_in.current_position)
        rotation = self._kinematics.forward(joints)[1]
        yaw = np.arctan2(rotation[1, 1], rotation[0, 1]) + self._rng.uniform(-0.3, 0.3)
        target = self._kinematics.inverse(pos_w, tool_down(yaw), joints)
        if target is None:
            return False
        self._perturbed_joints, self._perturbed_left = target, steps
        self._perturbed_opening = self._waypoint.opening if opening is None else opening
        self._shown.add(kind)
        return True

    def _fail_grasp(self) -> None:
        """Grasp beside the object, along the pads: the gripper closes on nothing."""
        waypoint, close = self._waypoint, self._waypoints[1] if len(self._waypoints) > 1 else self._waypoint
        if close.holds < 0 or not close.grips:
            return
        rotation = self._kinematics.forward(waypoint.joints_rad)[1]
        aside = self._rng.choice([-1.0, 1.0]) * self._rng.uniform(*FAILED_GRASP_M) * rotation[:, 0]
        beside = self._kinematics.inverse(waypoint.tool_pos_w + aside, rotation, waypoint.joints_rad)
        if beside is None:
            return
        self._imperfections.failed_grasps -= 1
        self._shown.add("failed_grasp")
        grasp = {"joints_rad": beside, "tool_pos_w": waypoint.tool_pos_w + aside}
        self._waypoints[:2] = [replace(one, **grasp) for one in self._waypoints[:2]]
        self._failing_grasp = True
