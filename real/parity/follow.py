"""Does the arm as measured follow the arm as commanded? Senses, units, zeros, source, gripper, rate and delays."""

from collections.abc import Iterator, Sequence

import numpy as np

from real.parity.numbers import (
    FASTER,
    LATE_PERIODS,
    MOVED,
    OFFSET_RAD,
    OPEN_READS,
    REST,
    SAME_SHARE,
    SLOPE,
    STILL_RAD,
    Finding,
    lag_periods,
    median_lag,
    shifted,
)  # fmt: skip
from real.parity.recording import Expected, Recording, Take

MATCHES = 0.95  # correlation of a command with another joint than its own
LATE_PICTURES = 2.0  # periods: how much a picture changes is a coarse clock
DELTA_SHARE = 0.2  # a command this small beside the joints' own angles is no absolute target
JOINT_UNITS = (
    (180 / np.pi, "the measured joints are in degrees, the commanded in radians"),
    (np.pi / 180, "the commanded joints are in degrees, the measured in radians"),
)
GRIPPER_UNITS = ((1.0, ""), (100.0, "in percent"), (255.0, "in steps of 0..255"))


def actions(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Absolute joint targets: not differences, not a copy of the state."""
    state = np.concatenate([take.state[:-1] for take in recording.takes]).astype(float)
    later = np.concatenate([take.state[1:] for take in recording.takes]).astype(float)
    action = np.concatenate([take.action[:-1] for take in recording.takes]).astype(float)
    joints = slice(0, expected.robot.joints)
    size = float(np.abs(action[:, joints]).mean() / max(np.abs(state[:, joints]).mean(), 1e-9))
    steps = (later - state)[:, joints]
    reading = f"mean size {size:.2f} of the measured joints'"
    if not np.isfinite(action).all():
        yield Finding(
            "actions", reading, "an action is not finite", "see what wrote it: nothing of the kind may be sent"
        )
    elif size < DELTA_SHARE and _slope(action[:, joints].ravel(), steps.ravel()) > 0:
        yield Finding(
            "actions", reading, "actions are differences, not absolute joint targets",
            "add the measured joints before they are recorded or sent",
        )  # fmt: skip
    elif np.abs(action - state).max() < 1e-6 and np.abs(steps).max() > 0:
        yield Finding(
            "actions", reading, "state and action are the same numbers: the command is recorded as measurement",
            "take the state from the controller's state stream, not from what was sent",
        )  # fmt: skip
    else:
        yield Finding("actions", reading)


def joints_follow(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Each joint follows its own command, in the same sense and unit, to the same zero."""
    lag = median_lag(recording.takes)
    if not np.isfinite(lag):
        yield Finding("joints follow", "nothing moved: not told")
        return
    state, action = _aligned(recording.takes, round(lag))
    moved = [j for j in range(expected.robot.joints) if action[:, j].std() > MOVED]
    wrong = [finding for j in moved if (finding := _one_follows(j, state, action, expected))]
    if wrong:
        yield from wrong
        return
    yield Finding("joints follow", f"{len(moved)} joints moved and followed")
    yield from _zeros(recording, expected)


def _one_follows(j: int, state: np.ndarray, action: np.ndarray, expected: Expected) -> Finding | None:
    name = expected.robot.joint_names[j]
    slope = _slope(action[:, j], state[:, j])
    reading = f"{name} moves {slope:+.2f} per commanded unit"
    if SLOPE[0] < slope < SLOPE[1] and _correlation(action[:, j], state[:, j]) > 0.9:
        return None
    fits = [_correlation(action[:, j], state[:, k]) for k in range(expected.robot.joints)]
    best = int(np.argmax(fits))
    order = "bring state and action into the order " + ", ".join(expected.robot.joint_names)
    if best != j and fits[best] > max(MATCHES, abs(fits[j]) + 0.02):
        return Finding("joints follow", reading, f"{name}'s command moves {expected.robot.joint_names[best]}", order)
    if state[:, j].std() < 0.1 * action[:, j].std() and abs(slope) < 0.01:
        mend = "see that the state is read anew for every frame"
        return Finding("joints follow", reading, f"joint {name} was commanded but is measured at rest", mend)
    for unit, cause in JOINT_UNITS:
        if SLOPE[0] < slope / unit < SLOPE[1]:
            return Finding(
                "joints follow", reading, cause, "radians on both sides; the driver converts (real.fairino.driver)"
            )
    if slope < 0:
        cause = f"joint {name} is measured in the opposite sense of its command"
        return Finding("joints follow", reading, cause, f"negate {name} in one of the two, as the simulator turns it")
    return Finding(
        "joints follow", reading, f"joint {name} does not follow its command", "check the servo and the load"
    )


def _zeros(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """What is left between measured and commanded while the command rests."""
    left = [take.state[end] - take.action[end] for take in recording.takes for end in _rests(take)]
    if len(left) < REST:
        yield Finding("zeros", "the arm never rested: not told")
        return
    offsets = np.median(left, axis=0)[: expected.robot.joints].astype(float)
    reading = f"left at rest {np.rad2deg(offsets).round(1).tolist()} deg"
    found = [j for j in range(len(offsets)) if abs(offsets[j]) > OFFSET_RAD]
    for j in found:
        name, by = expected.robot.joint_names[j], np.rad2deg(offsets[j])
        yield Finding(
            "zeros", reading, f"{name} is measured {by:+.1f} deg from where it is commanded at rest",
            f"set the zero of {name} on the controller, or look for a load that bends it aside",
        )  # fmt: skip
    if not found:
        yield Finding("zeros", reading)


def _rests(take: Take) -> Iterator[int]:
    """Frames by which the command has not moved for REST frames."""
    for end in range(REST, len(take.action)):
        if np.ptp(take.action[end - REST : end + 1, :-1], axis=0).max() < STILL_RAD:
            yield end


def gripper(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Sense, unit and stroke of the gripper's opening."""
    lag = median_lag(recording.takes)
    state, action = (x[:, -1] for x in _aligned(recording.takes, round(lag) if np.isfinite(lag) else 1))
    reading = f"commanded {action.min():.2f} to {action.max():.2f}, measured {state.min():.2f} to {state.max():.2f}"
    opening = "give both as opening, 0 closed to 1 open"
    if action.std() < MOVED:
        yield Finding("gripper", f"{reading}: never commanded to move, not told")
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
            "gripper", reading, "the gripper's sense is wrong: commanded to close it is measured to open", opening
        )
    elif state.std() < 0.1 * action.std():
        mend = "activate it (ActGripper), see robot.gripper_index and its cable"
        yield Finding("gripper", reading, "the gripper was commanded but is measured at rest", mend)
    elif action.max() > OPEN_READS and open_reads < OPEN_READS:
        yield Finding(
            "gripper", reading, f"the gripper commanded open is measured {open_reads:.2f} open",
            "its stroke is another than the simulator's: " 'python -m real.calibrate "what=[gripper]"',
        )  # fmt: skip
    else:
        yield Finding("gripper", reading)


def _gripper_unit(largest: float, stroke_m: float) -> str:
    """The unit in which an open gripper reads so much; "" for openings 0..1."""
    units = ((stroke_m, "in metres"), *GRIPPER_UNITS)
    return min(units, key=lambda unit: abs(np.log(max(largest, 1e-6) / unit[0])))[1]


def rate(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Frames are as far apart as they say, and each one is new."""
    said = f"{recording.fps:g} frames a second"
    if recording.fps != expected.fps:
        yield Finding(
            "rate", said, f"recorded at {recording.fps:g} frames a second, the policy runs at {expected.fps:g}",
            f"record at {expected.fps:g} frames a second, or resample",
        )  # fmt: skip
        return
    steps = [np.abs(np.diff(take.state[:, :-1], axis=0)).max(axis=1) for take in recording.takes if len(take.state) > 2]
    if not steps:
        yield Finding("rate", f"{said}; one look: not told")
        return
    if repeated := list(_new_every_frame(recording)):  # before the speed: what stands still jumps afterwards
        yield from repeated
        return
    speed = float(np.quantile(np.concatenate(steps), 0.98)) * recording.fps
    limit = expected.robot.policy_speed_rad_s
    reading = f"{said}; the arm moves at up to {np.rad2deg(speed):.0f} deg/s"
    if speed > FASTER * limit:
        yield Finding(
            "rate", reading,
            f"frames lie further apart than 1/{recording.fps:g} s: the arm may move at {np.rad2deg(limit):.0f} deg/s",
            "see why frames were missed or left out; do not relabel the rate",
        )  # fmt: skip
        return
    yield Finding("rate", reading)


def _new_every_frame(recording: Recording) -> Iterator[Finding]:
    """Neither state nor pictures stand still while the arm moves."""
    moving = [np.abs(np.diff(take.action[:, :-1], axis=0)).max(axis=1) > 0.01 for take in recording.takes]
    repeats = {"state": [(np.diff(take.state[:, :-1], axis=0) == 0).all(axis=1) for take in recording.takes]}
    for camera in recording.cameras:
        repeats[f"camera {camera}"] = [_repeated(take.images[camera]) for take in recording.takes]
    flags = np.concatenate(moving)
    for source, same in repeats.items():
        share = float(np.concatenate(same)[flags].mean()) if flags.any() else 0.0
        if share > SAME_SHARE:
            yield Finding(
                "rate", f"{share:.0%} of the frames of {source} repeat the one before while the arm moves",
                f"{source} is slower than the policy, or frozen", "raise its rate; see its age in the rollout's checks",
            )  # fmt: skip


def _repeated(images: np.ndarray) -> np.ndarray:
    """(T - 1,) bool: the picture is the one before; videos are lossy, so nearly the same is the same."""
    changes = np.abs(np.diff(images.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    return changes < 0.1 * max(float(np.quantile(changes, 0.9)), 1e-9)


def delays(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """The joints come after their command, and the pictures after the joints, as late as the policy learned."""
    period_ms = 1e3 / recording.fps
    mend = 'measure it (python -m real.calibrate "what=[delays]") and train with it (randomize.action_delay_s)'
    yield from _late("action to motion", median_lag(recording.takes), expected.lags, LATE_PERIODS, period_ms, mend)
    mend = "give pictures and joints of the same moment: stamp both, pair by stamp (real.workcell.env does)"
    for camera, lags in expected.picture_lags.items():
        if camera in recording.cameras:
            yield from _late(
                f"motion to camera {camera}", picture_lag(recording.takes, camera), lags, LATE_PICTURES, period_ms, mend
            )


def _late(
    what: str, lag: float, lags: tuple[float, float], tolerance: float, period_ms: float, mend: str
) -> Iterator[Finding]:
    low, high = lags
    reading = f"{what} {lag * period_ms:.0f} ms, expected {low * period_ms:.0f} to {high * period_ms:.0f}"
    if not np.isfinite(lag):
        yield Finding("delays", f"{what}: nothing moved, not told")
    elif lag > high + tolerance:
        yield Finding(
            "delays", reading, f"{what} takes {(lag - high) * period_ms:.0f} ms longer than the policy learned", mend
        )
    elif lag < low - tolerance:
        yield Finding(
            "delays", reading, f"{what} takes {(low - lag) * period_ms:.0f} ms less than the policy learned", mend
        )
    else:
        yield Finding("delays", reading)


def picture_lag(takes: Sequence[Take], camera: str) -> float:
    """Frames by which the pictures' changes come after the joints', over all takes at once; nan: not told."""
    changes = [np.abs(np.diff(take.images[camera].astype(np.int16), axis=0)).mean(axis=(1, 2, 3)) for take in takes]
    speeds = [np.abs(np.diff(take.state[:, :-1].astype(float), axis=0)).sum(axis=1) for take in takes]
    return lag_periods(np.cumsum(np.concatenate(changes))[:, None], np.cumsum(np.concatenate(speeds))[:, None])


def _aligned(takes: tuple[Take, ...], lag: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = [shifted(take.state.astype(float), take.action.astype(float), lag) for take in takes]
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


def _slope(cause: np.ndarray, effect: np.ndarray) -> float:
    """Of the straight line through effect over cause; 0 where the cause rests."""
    spread = cause.var()
    return float(((cause - cause.mean()) * (effect - effect.mean())).mean() / spread) if spread > 0 else 0.0


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    norm = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / norm) if norm > 0 else 0.0
