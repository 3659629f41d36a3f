"""Checks of a recorded motion: do the measured joints follow the commanded ones?

The slope between the two shows signs and units, what remains at rest shows zeros, the lag shows delays.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from real.parity.findings import Finding
from real.parity.lags import lag_periods, median_delay, median_lag, shifted
from real.parity.recording import Expected, Recording, Trajectory

MOVED = 0.03  # standard deviation of a command, rad or openings, above which it counts as moved
SLOPE = (0.7, 1.3)  # measured per commanded that counts as 1
OFFSET_RAD = np.deg2rad(2.0)
STILL_RAD = np.deg2rad(0.5)  # a command that changes less in REST frames is at rest
REST = 8  # frames
LATE_PERIODS = 0.75  # beyond what is expected
FASTER = 1.25  # than the policy's speed limit
SAME_SHARE = 0.3  # of moving frames that repeat the one before
OPEN_READS = 0.9
MATCHES = 0.95  # correlation of a command with a joint other than its own
LATE_IMAGES = 2.0  # periods: the change between images times them coarsely
DELTA_SHARE = 0.2  # commands this small relative to the joint angles are not absolute targets
JOINT_UNITS = (
    (180 / np.pi, "the measured joints are in degrees, the commanded in radians"),
    (np.pi / 180, "the commanded joints are in degrees, the measured in radians"),
)
GRIPPER_UNITS = ((1.0, ""), (100.0, "in percent"), (255.0, "in steps of 0..255"))


def actions(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check that actions are absolute joint targets, neither differences nor a copy of the state."""
    state = np.concatenate([trajectory.state[:-1] for trajectory in recording.trajectories]).astype(float)
    later = np.concatenate([trajectory.state[1:] for trajectory in recording.trajectories]).astype(float)
    action = np.concatenate([trajectory.action[:-1] for trajectory in recording.trajectories]).astype(float)
    joints = slice(0, expected.robot.joints)
    size = float(np.abs(action[:, joints]).mean() / max(np.abs(state[:, joints]).mean(), 1e-9))
    steps = (later - state)[:, joints]
    reading = f"mean size {size:.2f} of the measured joints'"
    if not np.isfinite(action).all():
        yield Finding(
            "actions", reading, "an action is not finite", "find what wrote it; such an action must never be sent"
        )
    elif size < DELTA_SHARE and _slope(action[:, joints].ravel(), steps.ravel()) > 0:
        yield Finding(
            "actions", reading, "actions are differences, not absolute joint targets",
            "add the measured joints before recording or sending them",
        )  # fmt: skip
    elif np.abs(action - state).max() < 1e-6 and np.abs(steps).max() > 0:
        yield Finding(
            "actions", reading, "state and action are equal: the command is recorded as the measurement",
            "read the state from the controller's state stream, not from what was sent",
        )  # fmt: skip
    else:
        yield Finding("actions", reading)


def joint_tracking(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check that each joint follows its own command, with the same sign, unit and zero."""
    lag = median_lag(recording.trajectories)
    if not np.isfinite(lag):
        yield Finding("joint tracking", "nothing moved: not determined")
        return
    state, action = _aligned(recording.trajectories, round(lag))
    moved = [j for j in range(expected.robot.joints) if action[:, j].std() > MOVED]
    wrong = [finding for j in moved if (finding := _one_follows(j, state, action, expected))]
    if wrong:
        yield from wrong
        return
    yield Finding("joint tracking", f"{len(moved)} joints moved and followed")
    yield from _zeros(recording, expected)


def _one_follows(j: int, state: np.ndarray, action: np.ndarray, expected: Expected) -> Finding | None:
    name = expected.robot.joint_names[j]
    slope = _slope(action[:, j], state[:, j])
    reading = f"{name} moves {slope:+.2f} per commanded unit"
    if SLOPE[0] < slope < SLOPE[1] and _correlation(action[:, j], state[:, j]) > 0.9:
        return None
    fits = [_correlation(action[:, j], state[:, k]) for k in range(expected.robot.joints)]
    best = int(np.argmax(fits))
    order = "reorder state and action: " + ", ".join(expected.robot.joint_names)
    if best != j and fits[best] > max(MATCHES, abs(fits[j]) + 0.02):
        return Finding("joint tracking", reading, f"{name}'s command moves {expected.robot.joint_names[best]}", order)
    if state[:, j].std() < 0.1 * action[:, j].std() and abs(slope) < 0.01:
        remedy = "read the state again for every frame"
        return Finding("joint tracking", reading, f"joint {name} was commanded to move but is measured at rest", remedy)
    for unit, cause in JOINT_UNITS:
        if SLOPE[0] < slope / unit < SLOPE[1]:
            return Finding(
                "joint tracking", reading, cause, "radians on both sides; the driver converts (real.fairino.driver)"
            )
    if slope < 0:
        cause = f"joint {name} is measured with the opposite sign of its command"
        return Finding(
            "joint tracking", reading, cause, f"negate {name} in one of the two, so that it turns as in the simulator"
        )
    return Finding(
        "joint tracking", reading, f"joint {name} does not follow its command", "check the servo and the load"
    )


def _zeros(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check the difference between measured and commanded joints while the command rests."""
    left = [
        trajectory.state[end] - trajectory.action[end]
        for trajectory in recording.trajectories
        for end in _rests(trajectory)
    ]
    if len(left) < REST:
        yield Finding("zeros", "the arm never rested: not determined")
        return
    offsets = np.median(left, axis=0)[: expected.robot.joints].astype(float)
    reading = f"difference at rest {np.rad2deg(offsets).round(1).tolist()} deg"
    found = [j for j in range(len(offsets)) if abs(offsets[j]) > OFFSET_RAD]
    for j in found:
        name, by = expected.robot.joint_names[j], np.rad2deg(offsets[j])
        yield Finding(
            "zeros", reading, f"{name} is measured {by:+.1f} deg from where it is commanded at rest",
            f"set the zero of {name} on the controller, or look for a load that deflects it",
        )  # fmt: skip
    if not found:
        yield Finding("zeros", reading)


def _rests(trajectory: Trajectory) -> Iterator[int]:
    """Yield frames at which the command has not moved for REST frames."""
    for end in range(REST, len(trajectory.action)):
        if np.ptp(trajectory.action[end - REST : end + 1, :-1], axis=0).max() < STILL_RAD:
            yield end


def gripper(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check sign, unit and stroke of the gripper's opening."""
    lag = median_lag(recording.trajectories)
    state, action = (x[:, -1] for x in _aligned(recording.trajectories, round(lag) if np.isfinite(lag) else 1))
    reading = f"commanded {action.min():.2f} to {action.max():.2f}, measured {state.min():.2f} to {state.max():.2f}"
    opening = "give both as opening, 0 closed to 1 open"
    if action.std() < MOVED:
        yield Finding("gripper", f"{reading}: never commanded to move, not determined")
        return
    slope = _slope(action, state)
    units = [
        f"the {who} gripper is {unit}, not 0..1"
        for who, values in (("commanded", action), ("measured", state))
        if (unit := _gripper_unit(float(values.max()), expected.robot.gripper_stroke_m))
    ]
    open_reads = np.median(state[action > action.max() - 0.05 * np.ptp(action)])
    if units:
        yield Finding("gripper", reading, units[0], opening)
    elif slope < 0:
        yield Finding(
            "gripper", reading, "the gripper is inverted: commanded to close, it is measured to open", opening
        )
    elif state.std() < 0.1 * action.std():
        remedy = "activate it (ActGripper); check robot.gripper_index and its cable"
        yield Finding("gripper", reading, "the gripper was commanded to move but is measured at rest", remedy)
    elif action.max() > OPEN_READS and open_reads < OPEN_READS:
        yield Finding(
            "gripper", reading, f"the gripper commanded open is measured {open_reads:.2f} open",
            "its stroke differs from the simulator's; measure it: " 'python -m real.calibrate "parts=[gripper]"',
        )  # fmt: skip
    else:
        yield Finding("gripper", reading)


def _gripper_unit(largest: float, stroke_m: float) -> str:
    """Return the unit in which an open gripper would read `largest`; "" for openings 0..1."""
    units = ((stroke_m, "in metres"), *GRIPPER_UNITS)
    return min(units, key=lambda unit: abs(np.log(max(largest, 1e-6) / unit[0])))[1]


def rate(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check that the frames are as far apart as the stated rate implies, and each one is new."""
    stated = f"{recording.fps:g} frames a second"
    if recording.fps != expected.fps:
        yield Finding(
            "rate", stated, f"recorded at {recording.fps:g} frames a second, the policy runs at {expected.fps:g}",
            f"record at {expected.fps:g} frames a second, or resample",
        )  # fmt: skip
        return
    steps = [
        np.abs(np.diff(trajectory.state[:, :-1], axis=0)).max(axis=1)
        for trajectory in recording.trajectories
        if len(trajectory.state) > 2
    ]
    if not steps:
        yield Finding("rate", f"{stated}; a single frame: not determined")
        return
    if repeated := list(_new_every_frame(recording)):  # before the speed: a repeated frame is followed by a jump
        yield from repeated
        return
    speed = float(np.quantile(np.concatenate(steps), 0.98)) * recording.fps
    limit = expected.robot.policy_speed_rad_s
    reading = f"{stated}; the arm moves at up to {np.rad2deg(speed):.0f} deg/s"
    if speed > FASTER * limit:
        yield Finding(
            "rate", reading,
            f"frames are further apart than 1/{recording.fps:g} s: the arm is limited to {np.rad2deg(limit):.0f} deg/s",
            "find out why frames are missing; do not relabel the rate",
        )  # fmt: skip
        return
    yield Finding("rate", reading)


def _new_every_frame(recording: Recording) -> Iterator[Finding]:
    """Check that neither state nor images repeat while the arm moves."""
    moving = [
        np.abs(np.diff(trajectory.action[:, :-1], axis=0)).max(axis=1) > 0.01 for trajectory in recording.trajectories
    ]
    repeats = {
        "state": [(np.diff(trajectory.state[:, :-1], axis=0) == 0).all(axis=1) for trajectory in recording.trajectories]
    }
    for camera in recording.cameras:
        repeats[f"camera {camera}"] = [_repeated(trajectory.images[camera]) for trajectory in recording.trajectories]
    flags = np.concatenate(moving)
    for source, same in repeats.items():
        share = float(np.concatenate(same)[flags].mean()) if flags.any() else 0.0
        if share > SAME_SHARE:
            yield Finding(
                "rate", f"{share:.0%} of the frames of {source} repeat the one before while the arm moves",
                f"{source} is slower than the policy, or frozen", "raise its rate; see its age in the rollout's checks",
            )  # fmt: skip


def _repeated(images: np.ndarray) -> np.ndarray:
    """Return (T - 1,) bool: the image equals the one before, within the losses of video coding."""
    if len(images) < 2:
        return np.zeros(0, bool)
    changes = np.abs(np.diff(images.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    return changes < 0.1 * max(float(np.quantile(changes, 0.9)), 1e-9)


def delays(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check that the joints lag behind their command, and the images behind the joints, as much as in training."""
    period_ms = 1e3 / recording.fps
    remedy = 'measure it (python -m real.calibrate "parts=[delays]") and train with it (randomize.action_delay_s)'
    lag = median_delay(recording.trajectories, expected.robot)
    yield from _late("action to motion", lag, expected.lags, LATE_PERIODS, period_ms, remedy)
    remedy = "pair images and joints of the same time: stamp both, match by stamp (real.workcell.env does)"
    for camera, lags in expected.image_lags.items():
        if camera in recording.cameras:
            yield from _late(
                f"motion to camera {camera}",
                image_lag(recording.trajectories, camera),
                lags,
                LATE_IMAGES,
                period_ms,
                remedy,
            )


def _late(
    what: str, lag: float, lags: tuple[float, float], tolerance: float, period_ms: float, remedy: str
) -> Iterator[Finding]:
    low, high = lags
    reading = f"{what} {lag * period_ms:.0f} ms, expected {low * period_ms:.0f} to {high * period_ms:.0f}"
    if not np.isfinite(lag):
        yield Finding("delays", f"{what}: nothing moved, not determined")
    elif lag > high + tolerance:
        yield Finding(
            "delays", reading, f"{what} takes {(lag - high) * period_ms:.0f} ms longer than in training", remedy
        )
    elif lag < low - tolerance:
        yield Finding("delays", reading, f"{what} takes {(low - lag) * period_ms:.0f} ms less than in training", remedy)
    else:
        yield Finding("delays", reading)


def image_lag(trajectories: Sequence[Trajectory], camera: str) -> float:
    """Return the frames by which changes of the images lag behind those of the joints; nan where it is not
    determined."""
    changes = [
        np.abs(np.diff(trajectory.images[camera].astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
        for trajectory in trajectories
    ]
    speeds = [
        np.abs(np.diff(trajectory.state[:, :-1].astype(float), axis=0)).sum(axis=1) for trajectory in trajectories
    ]
    return lag_periods(np.cumsum(np.concatenate(changes))[:, None], np.cumsum(np.concatenate(speeds))[:, None])


def _aligned(trajectories: tuple[Trajectory, ...], lag: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        shifted(trajectory.state.astype(float), trajectory.action.astype(float), lag) for trajectory in trajectories
    ]
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _slope(cause: np.ndarray, effect: np.ndarray) -> float:
    """Return the slope of the straight line through effect over cause; 0 where the cause is constant."""
    spread = cause.var()
    return float(((cause - cause.mean()) * (effect - effect.mean())).mean() / spread) if spread > 0 else 0.0


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    norm = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / norm) if norm > 0 else 0.0
