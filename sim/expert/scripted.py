"""The scripted expert: it knows the world, plays the legs that a task plans and times them with jerk-limited
profiles, as an agent of the same loop that runs a policy.

Speed, approach height, grasp yaw and blending vary from episode to episode, and so does what goes wrong
(`sim/quality.py`). Where the arm is pushed off its way the frames are flagged `perturbed` (their actions
are not what an expert wants) and the recovery that follows is clean data.

It lets go anywhere over the middle of the plate and from touching it to well above it. An expert that
always lets go at one point teaches a policy, which never reaches a point exactly, never to let go.
"""

from dataclasses import replace

import numpy as np
from ruckig import ControlInterface, InputParameter, OutputParameter, Result, Ruckig

from sim.core.contract import Observation
from sim.envs.sim_env import SimEnv
from sim.expert.imperfections import BEAT_S, FLAWS, FUMBLE_M, QualityConfig
from sim.planning.kinematics import tool_down
from sim.planning.motion_planner import MotionPlanner, MotionStyle, Waypoint

ACCEL_SHARE = 0.95  # of what the motion guard allows a stream of targets
FREE_LEGS = ("approach", "carry", "rise", "lift", "retreat")  # where a bump or a pause does no harm in any task


class Expert:
    """Plays the task in a `SimEnv` from privileged state. Satisfies `sim.episode.loop.Agent`."""

    def __init__(self, env: SimEnv, quality: QualityConfig = QualityConfig()):
        self._env = env
        self._quality = quality
        self._free_legs = {*FREE_LEGS, *env.world.task.free_waypoints}
        self._kinematics = env.world.kinematics
        self._period_s = env.robot.control_period_s
        self._otg = Ruckig(env.robot.joints, env.robot.control_period_s)

    def reset(self, observation: Observation, seed: int) -> None:
        """Plan from the present state of the world, whatever it is."""
        self._rng = np.random.default_rng([seed, 1])
        self.style = MotionStyle.draw(self._rng, self._quality.speed, self._quality.detour_m)
        self._flaws, self._shown = self._quality.draw(self._rng), set[str]()
        self._steps = self._push_left = self._pause_left = 0
        self._fumbling = self._retrying = False
        self._openings = [float(observation.state[-1])]
        self._planner = MotionPlanner(self._env.world.scene_state, self._kinematics, self.style)
        self._plan_in, self._plan_out = self._timing()
        self._replan()

    def act(self, observation: Observation) -> np.ndarray:
        """The next joint target and gripper opening."""
        self._openings.append(self._env.world.state()[-1])
        self._steps += 1
        if self._push_left:
            self._push_left -= 1
            if not self._push_left:
                self._replan()
        elif self._pause_left:
            self._pause_left -= 1
        elif not self._goes_wrong() and self._leg_is_over():
            self._next_leg()
        return self._advance()

    def flags(self) -> dict[str, bool]:
        return {
            "perturbed": self._push_left > 0,
            "hesitating": self._pause_left > 0,
            "fumbling": self._fumbling,
            "retrying": self._retrying,
        }

    def metadata(self) -> dict:
        """What kind of demonstration this is, to be stored with the episode; of its flaws those that happened."""
        shown = (name for name in FLAWS if name in self._shown)
        return {"expert/speed": self.style.speed, "expert/flaws": ",".join(shown)}

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
        pushed = self._push_left > 0
        target = self._push_joints if pushed else self._leg.joints_rad
        speed = self.style.speed * (1.0 if pushed else self._leg.speed)
        self._plan_in.max_velocity = [speed * self._env.robot.policy_speed_rad_s] * len(target)
        self._plan_in.control_interface = ControlInterface.Velocity if self._pause_left else ControlInterface.Position
        self._plan_in.target_position = target.tolist()
        self._arrived = self._otg.update(self._plan_in, self._plan_out) == Result.Finished
        self._plan_out.pass_to_input(self._plan_in)
        if self._arrived and not self._pause_left:  # what rounding leaves of the speed makes the next plan fail
            self._plan_in.current_position = target.tolist()
            self._plan_in.current_velocity = self._plan_in.current_acceleration = [0.0] * len(target)
        self._steps_in_leg += 1
        opening = self._push_opening if pushed else self._leg.opening
        return np.array([*self._plan_in.current_position, opening], np.float32)

    # ---- legs ----------------------------------------------------------------------------------

    @property
    def _leg(self) -> Waypoint:
        return self._legs[0]

    def _leg_is_over(self) -> bool:
        leg = self._leg
        if leg.grips:
            if leg.opening > self._openings[-1] + 0.05 and self._steps_in_leg < self._periods(20):
                return False  # before they open, the fingers let go of their squeeze, which nobody sees
            still = np.ptp(self._openings[-1 - self._periods(2) :]) < 0.01
            return self._steps_in_leg >= self._periods(4) and bool(still)
        if leg.blend_rad:
            left = np.abs(np.array(self._plan_in.current_position) - leg.joints_rad).max()
            return bool(left < leg.blend_rad)
        return self._arrived and self._steps_in_leg > 1

    def _next_leg(self) -> None:
        self._planner.opening = self._openings[-1]
        missed = self._leg.holds >= 0 and not self._planner.holds(self._leg.holds)
        if self._leg.grips:
            self._retrying, self._fumbling = missed, False
        if missed or len(self._legs) == 1:
            self._replan()
        else:
            self._legs = self._legs[1:]
            self._steps_in_leg = 0

    def _replan(self) -> None:
        """The legs that lead from here to success: again from the start after a miss or a push."""
        self._steps_in_leg = 0
        self._arrived = False
        joints = np.array(self._plan_in.current_position)
        self._planner.begin(joints, self._openings[-1])
        self._env.world.task.plan(self._planner)
        self._legs = self._planner.waypoints or [Waypoint("wait", joints, self._openings[-1], self._planner.tool_w)]

    def _periods(self, beats: int | np.integer) -> int:
        """Return how many policy periods so many beats last, at least one."""
        return max(round(int(beats) * BEAT_S / self._period_s), 1)

    # ---- what goes wrong -------------------------------------------------------------------------

    def _goes_wrong(self) -> bool:
        """Begin what is due: a push, a pause; a grasp beside the object takes the place of the good one."""
        flaws, leg = self._flaws, self._leg
        begun = self._steps_in_leg == self._periods(3)
        if flaws.push and flaws.push == leg.name and begun:
            flaws.push = ""
            return self._push("pushed", self._bumped_w(0.05), steps=self._periods(self._rng.integers(6, 13)))
        if flaws.misses and leg.name == "descend" and begun:
            flaws.misses -= 1
            opening = float(self._rng.choice([0.0, 1.0]))
            beside_w, steps = self._beside_w(0.015, 0.045), self._periods(self._rng.integers(12, 19))
            return self._push("missed", beside_w, steps, opening)
        if flaws.fumbles and leg.name == "descend" and self._steps_in_leg == 1:
            self._fumble()
            return False
        return leg.name in self._free_legs and self._is_disturbed()

    def _is_disturbed(self) -> bool:
        """A small bump or a pause whose time has come."""
        flaws = self._flaws
        if flaws.bump_steps and self._periods(flaws.bump_steps[0]) <= self._steps:
            flaws.bump_steps = flaws.bump_steps[1:]
            return self._push("noisy", self._bumped_w(0.02), steps=self._periods(self._rng.integers(3, 6)))
        if flaws.pause_steps and self._periods(flaws.pause_steps[0]) <= self._steps:
            flaws.pause_steps = flaws.pause_steps[1:]
            self._pause_left = self._periods(self._rng.integers(8, 25))
            self._shown.add("hesitated")
        return self._pause_left > 0

    def _bumped_w(self, reach_m: float) -> np.ndarray:
        """(3,) m, up to `reach_m` aside from where the tool is commanded, and not lower."""
        pos_w, _ = self._kinematics.forward(np.array(self._plan_in.current_position))
        return pos_w + [*self._rng.uniform(-reach_m, reach_m, 2), self._rng.uniform(0.0, 0.8 * reach_m)]

    def _beside_w(self, low_m: float, high_m: float) -> np.ndarray:
        """(3,) m, low beside where the leg leads, as a policy that misses."""
        angle, distance = self._rng.uniform(-np.pi, np.pi), self._rng.uniform(low_m, high_m)
        return self._leg.tool_w + [
            distance * np.cos(angle), distance * np.sin(angle), self._rng.uniform(-0.006, 0.030)
        ]  # fmt: skip

    def _push(self, flaw: str, pos_w: np.ndarray, steps: int, opening: float | None = None) -> bool:
        """The arm is driven to `pos_w` for `steps` periods, which shows `flaw`; whether it can be."""
        joints = np.array(self._plan_in.current_position)
        rotation = self._kinematics.forward(joints)[1]
        yaw = np.arctan2(rotation[1, 1], rotation[0, 1]) + self._rng.uniform(-0.3, 0.3)
        target = self._kinematics.inverse(pos_w, tool_down(yaw), joints)
        if target is None:
            return False
        self._push_joints, self._push_left = target, steps
        self._push_opening = self._leg.opening if opening is None else opening
        self._shown.add(flaw)
        return True

    def _fumble(self) -> None:
        """Grasp beside the object, along the pads: the hand closes on nothing."""
        leg, close = self._leg, self._legs[1] if len(self._legs) > 1 else self._leg
        if close.holds < 0 or not close.grips:
            return
        rotation = self._kinematics.forward(leg.joints_rad)[1]
        aside = self._rng.choice([-1.0, 1.0]) * self._rng.uniform(*FUMBLE_M) * rotation[:, 0]
        beside = self._kinematics.inverse(leg.tool_w + aside, rotation, leg.joints_rad)
        if beside is None:
            return
        self._flaws.fumbles -= 1
        self._shown.add("fumbled")
        self._legs[:2] = [replace(one, joints_rad=beside, tool_w=leg.tool_w + aside) for one in self._legs[:2]]
        self._fumbling = True
