"""Arbitrary chunks through the motion guard: what leaves it, against the limits, by finite differences.

The chunks are of kinds that a broken or bad policy makes; the arm answers with lag, noise,
old news or nonsense. Part of the streams go on through the servo layer and are differenced at its rate.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sim.control.servo import Servo
from sim.core.contract import Observation
from sim.guard.motion_guard import MotionGuard
from sim.robots.robot import Robot

CHUNK = 8
CHUNKS_PER_EPISODE = 12
TICKS = (6, 6, 6, 7, 5, 12)  # of the servo a policy period, a busy machine's too
# What rounding adds to finite differences of what the servo commands: share of a limit, and rad.
SERVO_TOLERANCE, SERVO_TOLERANCE_RAD = 1e-6, 2e-6


@dataclass
class Tally:
    """What left the guard (`guard`) and, behind it, the servo (`servo`): the largest share of each limit."""

    chunks: int = 0
    actions: int = 0
    ticks: int = 0
    latched: int = 0
    guard: dict[str, float] = field(default_factory=dict)
    servo: dict[str, float] = field(default_factory=dict)
    beyond: int = 0  # values beyond a limit
    counts: Counter = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        for name in ("chunks", "actions", "ticks", "latched", "beyond"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.guard, other.guard), (self.servo, other.servo)):
            mine.update({name: max(share, mine.get(name, 0.0)) for name, share in theirs.items()})
        self.counts += other.counts


def play(robot: Robot, rng: np.random.Generator, *, through_servo: bool) -> Tally:
    """Play one episode from rest anywhere in the range: arbitrary chunks until one has latched the guard, or
    CHUNKS_PER_EPISODE of them."""
    low, high = robot.action_min.astype(float), robot.action_max.astype(float)
    start = np.where(rng.random(len(low)) < 0.1, rng.choice([low, high]), rng.uniform(low, high)).astype(np.float32)
    guard, servo = MotionGuard(robot), Servo(robot)
    guard.reset(start)
    servo.reset(start[: robot.joints])
    sent, state, path, ticks = start, start, [start], []
    while len(path) <= CHUNKS_PER_EPISODE * CHUNK and not guard.report.latched:
        chunk = arbitrary_chunk(robot, rng, sent)
        lag, nonsense = rng.random(), rng.random() < 0.02
        for asked in chunk:
            age_s = float(rng.choice([0.3, np.nan])) if nonsense and rng.random() < 0.1 else 0.0
            news = rng.normal(size=len(start)) * 3 if nonsense and rng.random() < 0.1 else state
            sent = guard.check(Observation({}, news.astype(np.float32), "", 0.0, age_s), asked)
            path.append(sent)
            state = sent + np.float32(lag) * (state - sent)
            if through_servo:
                servo.set_target(sent[: robot.joints])
                ticks += [servo.tick() for _ in range(rng.choice(TICKS))]
    tally = Tally((len(path) - 1) // CHUNK, len(path) - 1, len(ticks), bool(guard.report.latched))
    tally.counts = Counter(guard.report.counts)
    targets = np.array(path, float)[:, : robot.joints]
    tally.guard, tally.beyond = _shares(targets, robot, robot.control_period_s, 0.0, 0.0)
    if ticks:
        commands = np.vstack([start[: robot.joints], *ticks])
        tally.servo, beyond = _shares(commands, robot, robot.servo_period_s, SERVO_TOLERANCE, SERVO_TOLERANCE_RAD)
        tally.beyond += beyond
    return tally


def _shares(
    path: np.ndarray, robot: Robot, period_s: float, tolerance: float, tolerance_rad: float
) -> tuple[dict, int]:
    """Return the largest share of each limit, and how many values are beyond one; path (n, joints) rad, from rest."""
    path = np.vstack([path[:1]] * 3 + [path])
    speed = np.diff(path, axis=0) / period_s
    accel = np.diff(speed, axis=0) / period_s
    jerk = np.diff(accel, axis=0) / period_s
    low, high = (limit.astype(float)[: robot.joints] for limit in (robot.action_min, robot.action_max))
    shares = {
        "position": np.abs(path - (low + high) / 2) / ((high - low) / 2 + tolerance_rad),
        "speed": np.abs(speed) / robot.policy_speed_rad_s,
        "acceleration": np.abs(accel) / robot.policy_accel_rad_s2,
        "jerk": np.abs(jerk) / robot.policy_jerk_rad_s3,
    }
    tolerance = max(tolerance, 1e-12)  # of these divisions
    beyond = sum(int((~(share <= 1 + tolerance)).sum()) for share in shares.values())
    return {name: float(share.max()) for name, share in shares.items()}, beyond


def arbitrary_chunk(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    """Return (CHUNK, D) float32 actions of a random kind; some kinds begin near `sent` (D,), others anywhere."""
    make = KINDS[rng.integers(len(KINDS))]
    with np.errstate(over="ignore", invalid="ignore"):
        chunk = make(robot, rng, sent.astype(float)).astype(np.float32)
    if rng.random() < 0.02:
        broken = rng.random(chunk.shape) < 0.05
        chunk[broken] = rng.choice([np.nan, np.inf, -np.inf, 1e30, 0.0])
    return chunk


Make = Callable[[Robot, np.random.Generator, np.ndarray], np.ndarray]


def _noise(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    scale = 10.0 ** rng.uniform(-3, -0.2)
    return sent + rng.uniform(-scale, scale, (CHUNK, len(sent)))


def _walk(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    return sent + np.cumsum(rng.normal(size=(CHUNK, len(sent))) * 10.0 ** rng.uniform(-3, -1), axis=0)


def _step(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    step = rng.uniform(-0.7, 0.7, len(sent)) * (rng.random(len(sent)) < 0.5)
    return np.tile(sent + step, (CHUNK, 1))


def _ramp(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    """Return a ramp as fast as is allowed or faster, with a sudden end or turn."""
    fastest = robot.policy_speed_rad_s * robot.control_period_s
    pace = rng.choice([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], len(sent)) * fastest
    paces = np.tile(pace, (CHUNK, 1))
    paces[rng.integers(CHUNK) :] *= rng.choice([-1.0, 0.0, 1.0])
    return sent + np.cumsum(paces, axis=0)


def _flips(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    signs = np.where(np.arange(CHUNK) % rng.integers(1, 4) == 0, 1.0, -1.0)
    return sent + signs[:, None] * rng.uniform(0, 0.5, len(sent))


def _mirrored(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    """Return a chunk with a wrong sign on one joint, in the middle of the chunk."""
    chunk = _walk(robot, rng, sent)
    chunk[rng.integers(CHUNK) :, rng.integers(len(sent))] *= -1
    return chunk


def _drift(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    """Return a chunk that goes slowly out of the range, every joint towards its nearer end."""
    out = np.sign(sent - (robot.action_max + robot.action_min) / 2)
    return sent + out * np.linspace(0, rng.uniform(0.05, 0.6), CHUNK)[:, None]


def _zeros(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    chunk = _noise(robot, rng, sent)
    chunk[rng.integers(CHUNK) :] = 0.0
    return chunk


def _anywhere(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    return rng.uniform(robot.action_min - 2, robot.action_max + 2, (CHUNK, len(sent)))


def _degrees(robot: Robot, rng: np.random.Generator, sent: np.ndarray) -> np.ndarray:
    """Return a chunk with units mixed up."""
    return np.rad2deg(_walk(robot, rng, sent))


# The first kinds stay near what was sent; the last three latch the guard and are therefore rare.
KINDS: list[Make] = [_noise, _walk, _step, _ramp, _ramp, _flips, _drift] * 12 + [_mirrored, _zeros, _anywhere, _degrees]
