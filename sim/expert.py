"""The scripted expert: it knows the world, plays the legs that a task plans and times them with jerk-limited
profiles, as an agent of the same loop that runs a policy.

Speed, approach height, grasp yaw and blending vary from episode to episode. In some episodes the
arm is pushed off its way; those frames are flagged `perturbed` (their actions are not what an
expert wants) and the recovery that follows is clean data.

It lets go anywhere over the middle of the plate and from touching it to well above it. An expert that
always lets go at one point teaches a policy, which never reaches a point exactly, never to let go.
"""

import numpy as np
from ruckig import InputParameter, OutputParameter, Result, Ruckig

from sim.contract import POLICY_PERIOD_S, Observation
from sim.env import SimEnv
from sim.hand import Hand, Leg, Style
from sim.kinematics import tool_down

PUSHES = {"approach": 0.15, "descend": 0.15, "carry": 0.15, "lower": 0.15, "miss": 0.4}  # shares


class Expert:
    """Plays the task in a `SimEnv` from privileged state. Satisfies `sim.loop.Agent`."""

    def __init__(self, env: SimEnv, perturb: float = 0.5):
        self._env = env
        self._perturb = perturb
        self._kinematics = env.world.kinematics
        self._otg = Ruckig(env.robot.joints, POLICY_PERIOD_S)

    def reset(self, observation: Observation, seed: int) -> None:
        """Plan from the present state of the world, whatever it is."""
        self._rng = np.random.default_rng([seed, 1])
        self.style = Style.draw(self._rng)
        pushed = self._rng.random() < self._perturb
        self.push = str(self._rng.choice(list(PUSHES), p=list(PUSHES.values()))) if pushed else ""
        self._push_left = 0
        self._openings = [float(observation.state[-1])]
        world = self._env.world
        self._hand = Hand(world.scene, world.data, self._kinematics, self.style)
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
        elif self._leg_is_over():
            self._next_leg()
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
        pushed = self._push_left > 0
        target = self._push_joints if pushed else self._leg.joints_rad
        speed = self.style.speed * (1.0 if pushed else self._leg.speed)
        self._plan_in.max_velocity = [speed * self._env.robot.policy_speed_rad_s] * len(target)
        self._plan_in.target_position = target.tolist()
        self._arrived = self._otg.update(self._plan_in, self._plan_out) == Result.Finished
        self._plan_out.pass_to_input(self._plan_in)
        if self._arrived:  # what rounding leaves of the speed makes the next plan fail
            self._plan_in.current_position = target.tolist()
            self._plan_in.current_velocity = self._plan_in.current_acceleration = [0.0] * len(target)
        self._steps_in_leg += 1
        opening = self._push_opening if pushed else self._leg.opening
        return np.array([*self._plan_in.current_position, opening], np.float32)

    # ---- legs ----------------------------------------------------------------------------------

    @property
    def _leg(self) -> Leg:
        return self._legs[0]

    def _leg_is_over(self) -> bool:
        leg = self._leg
        if leg.grips:
            still = np.ptp(self._openings[-3:]) < 0.01
            return self._steps_in_leg >= 4 and bool(still)
        if leg.blend_rad:
            left = np.abs(np.array(self._plan_in.current_position) - leg.joints_rad).max()
            return bool(left < leg.blend_rad)
        return self._arrived and self._steps_in_leg > 1

    def _next_leg(self) -> None:
        self._hand.opening = self._openings[-1]
        missed = self._leg.holds >= 0 and not self._hand.holds(self._leg.holds)
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
        self._hand.begin(joints, self._openings[-1], self._env.world.draws)
        world = self._env.world
        world.task.plan(self._hand, world.draws)
        self._legs = self._hand.legs or [Leg("wait", joints, self._openings[-1], self._hand.tool_w)]

    # ---- pushes --------------------------------------------------------------------------------

    def _should_push(self) -> bool:
        name = "descend" if self.push == "miss" else self.push
        return self._leg.name == name and self._steps_in_leg == 3

    def _start_push(self) -> None:
        """Push the arm aside for 0.3-0.6 s, as a bump would, or beside the object for 0.6-0.9 s, as a policy does."""
        rng, joints = self._rng, np.array(self._plan_in.current_position)
        pos_w, rotation = self._kinematics.forward(joints)
        self._push_opening = self._leg.opening
        steps = int(rng.integers(6, 13))
        if self.push == "miss":
            angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(0.015, 0.045)
            aside = distance * np.array([np.cos(angle), np.sin(angle)])
            pos_w = self._leg.tool_w + [*aside, rng.uniform(-0.006, 0.030)]
            self._push_opening = float(rng.choice([0.0, 1.0]))
            steps += 6
        else:
            pos_w = pos_w + [*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.0, 0.04)]
        yaw = np.arctan2(rotation[1, 1], rotation[0, 1]) + rng.uniform(-0.3, 0.3)
        target = self._kinematics.inverse(pos_w, tool_down(yaw), joints)
        self.push = ""  # once an episode
        if target is not None:
            self._push_joints, self._push_left = target, steps
