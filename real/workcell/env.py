"""The robot as an environment: driver, cameras, bench and servo stream as a `sim.episode.loop.Env`.

`sim.envs.sim_env.GymEnv(RobotEnv(...), image_size)` is its gymnasium view, with the simulator's spaces and the guard.
A fault truncates the episode, so that what was recorded is kept; the next `reset` raises it.
"""

import contextlib
import dataclasses
import time
from collections.abc import Mapping

import numpy as np

from real.cameras.camera import Camera, Frame
from real.control.drag_teach import HandGuiding
from real.control.gripper_pause import move_gripper, try_gripper
from real.control.guarded_motion import GuardedArm
from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault, with_notes
from real.core.rate import Rate
from real.core.robot_driver import RobotDriver
from real.workcell.episode_setup import Bench, EpisodeSetup
from sim.core.contract import Feedback, Observation, check_decision_time
from sim.core.errors import UserError
from sim.guard.motion_guard import Distances


class RobotEnv:
    """One robot, powered on and ready, from `reset` to `close`.

    clearance: the distances on its bench; homing checks its whole path first, the motion guard every action.
    """

    def __init__(
        self, driver: RobotDriver, cameras: Mapping[str, Camera], bench: Bench, clearance: Distances | None = None
    ):
        missing = set(driver.robot.camera_names) - set(cameras)
        if missing:
            raise UserError(f"no camera is configured for {', '.join(sorted(missing))}")
        self.robot = driver.robot
        self.driver, self.bench, self.clearance = driver, bench, clearance
        self.cameras = {name: cameras[name] for name in self.robot.camera_names}
        self.stream = ServoStream(driver)
        self.guiding = HandGuiding(driver, self.stream, self._raise_halt)
        self.rate = Rate(self.robot.control_period_s)
        self.fault: UserError | None = None
        self.decision_s = self.send_delay_s = 0.0  # of the last period, see `real.workcell.recording`
        self._halted: RobotFault | None = None
        self._bench_metadata: dict = {}
        self._seen: Observation | None = None
        self._task = EpisodeSetup("", 0.0)

    # ---- sim.episode.loop.Env --------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Set up the task, move the arm to its start pose and hold it there.

        RobotFault or RobotUnreachable when the robot is not ready to move.
        """
        self._end_stream()
        self.driver.raise_fault()
        self.guiding.hold()  # if `_end_stream` failed to: a released arm is not ready to move
        self.guiding.leave_manual()
        self.driver.gripper.clear()
        self._task = self.bench.prepare(seed)
        self._bench_metadata = self.bench.metadata()  # now: after the episode it may not answer
        self.driver.settle()
        self.fault, self._steps, self._held = None, 0, 0
        self.stream.start()
        self._raise_error()  # a halt was requested meanwhile, or before: none is lost
        self._take_start_pose()
        self._overruns_before = self.stream.rate.overruns
        self.rate.reset()
        self._observed_s = time.monotonic()
        self.capture()

    def observe(self) -> Observation:
        """Return the newest state and images; during a fault the last good ones, with their age."""
        if self._seen is None:
            raise RuntimeError("observe before reset")
        self._observed_s = time.monotonic()
        age_s = self._observed_s - self._seen.stamp_s
        return dataclasses.replace(self._seen, age_s=age_s)

    def look(self) -> Observation:
        """Return a new observation within a period. RobotUnreachable as `capture`."""
        self.capture()
        return self.observe()

    def apply(self, action: np.ndarray) -> Feedback:
        """Stream towards `action` (D,) until the next policy period; while guided by hand, only observe."""
        begun_s = time.monotonic()
        self.decision_s, self.send_delay_s = begun_s - self._observed_s, np.nan
        self._steps += 1
        try:
            self._raise_error()  # the arm was stopped during the decision: nothing of it is carried out
            if not self.guiding.active:  # else it is a person's time
                check_decision_time(self.decision_s)
            move_gripper(self.driver, self.stream, float(action[-1]))  # first: the stream may have to pause for it
            self._raise_halt()  # a stream that started again has forgotten it
            if self.guiding.active:
                self.rate.sleep()
            else:
                paused_s = time.monotonic() - begun_s
                self.stream.set_target(action[: self.robot.joints])
                self.rate.sleep()
                self.send_delay_s = paused_s + self.stream.send_delay_s
            self._raise_error()
            feedback = self._judge()
            self.capture()
        except UserError as error:
            self.fault, self._halted = error, None
            self._end_stream()
            return Feedback(-1.0, terminated=False, truncated=True, success=False)
        return feedback

    def ground_truth(self) -> dict[str, np.ndarray]:
        return self.bench.ground_truth()

    def metadata(self) -> dict:
        """Return what is known of the episode: the bench's metadata, and how the stream ran."""
        return {
            **self._bench_metadata,
            "robot/firmware": self.driver.firmware,
            "robot/fault": with_notes(self.fault) if self.fault else "",
            "robot/late_periods": self.stream.rate.overruns - self._overruns_before,
        }

    def halt(self, why: str) -> None:
        """Stop the arm at once and end the episode at its next period. From any thread."""
        self._halted = self.stream.halt(why)

    def guarded_arm(self) -> GuardedArm:
        """Return the arm for motion without a policy, with a motion guard of its own."""
        return GuardedArm(self.driver, self.stream, self.rate, self.clearance)

    def rest(self) -> None:
        """Decelerate along the path and leave servo mode. Never raises when the robot does not answer."""
        with contextlib.suppress(UserError):
            self._end_stream()

    def raise_stop(self) -> None:
        """Raise what stopped the arm after the episode's last period: the next stream would forget it."""
        if self.fault is None and self.stream.error is not None:
            raise self.stream.error

    def stop_failure(self) -> str:
        """Stop, repeating what was not acknowledged; returns why the arm may still move, "" when it is at rest."""
        self.rest()
        self.stream.stop_again()
        if self.guiding.active:
            return "the arm may still be in drag teaching: holding it was not acknowledged; press the emergency stop"
        if self.stream.stop_failure:
            return (
                f"the arm may still move: its last stop failed ({self.stream.stop_failure}); press the emergency stop"
            )
        return ""

    def close(self) -> None:
        """Stop, leave servo mode and close everything. Never raises when the robot does not answer."""
        self.rest()
        self.driver.close()
        for camera in self.cameras.values():
            camera.close()
        self.bench.close()

    def __enter__(self) -> "RobotEnv":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # ---- parts ---------------------------------------------------------------------------------

    def _end_stream(self) -> None:
        self.guiding.hold_quietly()
        self.stream.stop()

    def _raise_halt(self) -> None:
        if self._halted is not None:
            raise self._halted

    def _raise_error(self) -> None:
        self._raise_halt()
        if error := self.stream.ended_by:
            raise error
        if self.guiding.active:  # no stream that would look
            self.driver.raise_fault()
            self.guiding.raise_if_ended()

    def capture(self) -> Observation:
        """Return the newest images, and the joints at the time of the images. RobotUnreachable when either
        is missing."""
        frames: dict[str, Frame] = {name: camera.latest() for name, camera in self.cameras.items()}
        captured_s = [frame.stamp_s for frame in frames.values()]
        # Joints at the time of the images, as the simulator pairs them.
        at_s = float(np.mean(captured_s))
        state, stamp_s = self.driver.state(at_s)
        images = {name: frame.image for name, frame in frames.items()}
        oldest_s, touch = min(stamp_s, *captured_s), self.driver.touch(at_s)
        depth = {name: frame.depth for name, frame in frames.items() if frame.depth is not None}
        self._seen = Observation(images, state, self._task.instruction, oldest_s, touch=touch, depth=depth)
        return self._seen

    def _judge(self) -> Feedback:
        outcome = self.bench.outcome()
        self._held = self._held + 1 if outcome.success else 0
        success = outcome.success and self._held >= round(self._task.settle_s / self.robot.control_period_s)
        out_of_time = self._steps * self.robot.control_period_s >= self._task.time_limit_s
        return Feedback(
            reward=0.0 if success else -1.0,
            terminated=success,
            truncated=not success and out_of_time,
            success=success,
        )

    def _take_start_pose(self) -> None:
        """Home the arm unless the bench has placed it. The gripper is tried before anything moves; an error ends servo
        mode."""
        try:
            if self.bench.sets_start_pose:
                try_gripper(self.driver, self.stream, float(self.driver.state()[0][-1]))
                self._raise_error()  # a stop meanwhile that had ended servo mode before the gripper was told
            else:
                self._go_home()
        except UserError:
            self._end_stream()
            raise

    def _go_home(self) -> None:
        """Move slowly in a straight line in joint space to the home pose, gripper open.

        RobotFault when a known obstacle is in the way, when the motion guard stops the arm or when home is not reached.
        """
        home, arm = np.array(self.robot.home_rad), self.guarded_arm()
        arm.begin(opening=1.0)
        if why := arm.blocked(home):
            raise RobotFault(f"the straight path to the home pose is blocked ({why}); guide the arm past it by hand")
        arm.move_to(home, lambda k: self._raise_error())
