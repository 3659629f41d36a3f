"""The servo layer against finite differences of what it commands."""

import numpy as np
import pytest
from fr3 import CONTROL_PERIOD_S, FR3, SERVO_PERIOD_S
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.control.servo import Servo
from sim.guard.stopping import servo_stop_rad
from sim.planning.kinematics import ToolKinematics

LOW, HIGH = np.array(FR3.position_min_rad), np.array(FR3.position_max_rad)
HOME = np.array(FR3.home_rad)
# Ticks in a policy period are 6 or 7; on a loaded machine more or fewer.
TICKS = st.integers(1, 20)


def play(servo: Servo, targets, ticks: int = 6, after: int = 0) -> np.ndarray:
    """(n, joints) all commands: `ticks` per target, then `after` more without one."""
    path = [servo.position_rad]
    for target in targets:
        servo.set_target(target)
        path += [servo.tick() for _ in range(ticks)]
    return np.array(path + [servo.tick() for _ in range(after)])


def servo_at(position: np.ndarray) -> Servo:
    servo = Servo(FR3)
    servo.reset(position)
    return servo


def assert_within_limits(path: np.ndarray) -> None:
    speed = np.diff(path, axis=0) / SERVO_PERIOD_S
    accel = np.diff(speed, axis=0) / SERVO_PERIOD_S
    jerk = np.diff(accel, axis=0) / SERVO_PERIOD_S
    assert np.abs(speed).max(initial=0) <= FR3.policy_speed_rad_s * (1 + 1e-6)
    assert np.abs(accel).max(initial=0) <= FR3.policy_accel_rad_s2 * (1 + 1e-6)
    assert np.abs(jerk).max(initial=0) <= FR3.policy_jerk_rad_s3 * (1 + 1e-6)
    assert (path >= LOW - 2e-6).all()
    assert (path <= HIGH + 2e-6).all()


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    reach_rad=st.sampled_from([0.02, 0.07, 0.35, 4.0]),
    corner=st.booleans(),
    ticks=st.lists(TICKS, min_size=1, max_size=40),
)
def test_no_limit_is_ever_exceeded_by_arbitrary_targets(seed, reach_rad, corner, ticks):
    rng = np.random.default_rng(seed)
    position = np.where(rng.random(6) < 0.5, LOW, HIGH) if corner else rng.uniform(LOW, HIGH)
    servo, target, path = servo_at(position), position, []
    for count in ticks:
        target = target + rng.uniform(-reach_rad, reach_rad, 6)
        servo.set_target(target)
        path += [servo.tick() for _ in range(count)]
        if rng.random() < 0.1:
            servo.stop()
    path += [servo.tick() for _ in range(30)]
    assert_within_limits(np.array([position, position, position, *path]))


@pytest.mark.parametrize("side", ["low", "high"])
def test_at_a_joint_limit_there_is_no_overshoot(side):
    limit = LOW if side == "low" else HIGH
    inward = 1.0 if side == "low" else -1.0
    for gap_rad in (0.0, 0.03, 0.06, 0.1):
        servo = servo_at(limit + inward * 0.6)
        goal = limit + inward * gap_rad
        targets = [limit + inward * max(0.6 - 0.055 * k, gap_rad) for k in range(1, 13)]
        path = play(servo, targets, after=100)
        assert_within_limits(path)
        np.testing.assert_allclose(path[-1], goal, atol=0.06)


def test_a_target_beyond_the_range_is_clipped_to_it():
    servo = servo_at(HIGH - 0.1)
    path = play(servo, [HIGH + 1.0] * 3, after=60)
    np.testing.assert_allclose(path[-1], HIGH, atol=1e-6)


def test_a_feasible_stream_is_followed_on_time():
    servo, period = servo_at(HOME), CONTROL_PERIOD_S
    worst = 0.0
    clock = 0.0
    for k in range(1, 81):
        target = HOME + 0.15 * (1 - np.cos(2 * np.pi * 0.4 * k * period))
        servo.set_target(target)
        while clock + SERVO_PERIOD_S <= k * period + 1e-9:
            clock += SERVO_PERIOD_S
            servo.tick()
        due = HOME + 0.15 * (1 - np.cos(2 * np.pi * 0.4 * clock))
        worst = max(worst, np.abs(servo.position_rad - due).max())
    assert worst < 0.003


def test_a_small_step_arrives_exactly_when_due():
    servo = servo_at(HOME)
    servo.set_target(HOME + 0.01, duration_s=0.2)
    commands = np.array([servo.tick() for _ in range(25)])
    assert np.abs(commands[23] - HOME).max() < 0.01
    np.testing.assert_allclose(commands[24], HOME + 0.01, atol=1e-6)


def fall_silent(
    speed_rad_s: float, start: np.ndarray = HOME, direction=(1, -0.5, 0.25, 0.8, -1, 0.1)
) -> tuple[np.ndarray, np.ndarray, float]:
    """Last target, path (ticks, joints) from it to rest, largest joint speed: a stream that ends at a steady speed."""
    servo, ticks, target, fastest = servo_at(start), 0, start, 0.0
    for k in range(1, 15):  # 0.3 s to full speed
        travelled_s = k * CONTROL_PERIOD_S - 0.15 if k > 6 else (k * CONTROL_PERIOD_S) ** 2 / 0.6
        target = start + speed_rad_s * travelled_s * np.array(direction)
        servo.set_target(target)
        while (ticks + 1) * SERVO_PERIOD_S <= k * CONTROL_PERIOD_S + 1e-9:
            servo.tick()
            ticks += 1
            fastest = max(fastest, float(np.abs(servo.velocity_rad_s).max()))
    return target, np.array([servo.position_rad, *(servo.tick() for _ in range(60))]), fastest


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8, 0.95, 1.0])
def test_when_the_policy_falls_silent_the_arm_comes_to_rest_within_the_stated_distance(share):
    target, path, fastest = fall_silent(share * FR3.policy_speed_rad_s)
    assert_within_limits(path)
    np.testing.assert_array_equal(path[-1], path[-20])  # at rest within 0.33 s
    beyond = np.abs(path[-1] - target).max()
    assert 0 < beyond <= servo_stop_rad(FR3, np.full(6, fastest))[0]
    # From 70 deg/s: v^2 / 2a + v a / 2j = 0.0848, and 8 ms of travel, 0.0098.
    assert beyond <= 0.0946


def test_the_stated_stopping_distance_is_the_closed_form():
    # 70 deg/s = 1.2217 rad/s, 10 rad/s^2, 600 rad/s^3; at 0.1 rad/s the jerk limit alone decides.
    stated = servo_stop_rad(FR3, np.array([1.2217, 0.1]))
    np.testing.assert_allclose(stated, [0.07463 + 0.01018 + 0.00977, 0.1 * np.sqrt(0.1 / 600) + 0.0008], rtol=1e-3)


def test_the_tool_of_a_silent_policy_stops_within_eight_centimetres_at_full_stretch():
    kinematics = ToolKinematics(FR3)
    stretched = np.deg2rad([0, 0, 0, -90, 0, 0])
    target, path, _ = fall_silent(FR3.policy_speed_rad_s, stretched, (1, 0, 0, 0, 0, 0))
    tool, last = kinematics.forward(path[-1])[0], kinematics.forward(target)[0]
    assert np.hypot(*last[:2]) > 0.7  # of 0.8
    assert 0.02 < np.linalg.norm(tool - last) <= 0.08


def test_stop_keeps_the_direction_of_travel():
    direction = np.array([1.0, -0.5, 0.25, 0.8, -1.0, 0.1])
    servo = servo_at(HOME)
    play(servo, [HOME + 0.05 * k * direction for k in range(1, 10)])
    begin = servo.position_rad
    servo.stop()
    path = np.array([servo.tick() for _ in range(60)])
    travelled = path[-1] - begin
    cosine = travelled @ direction / np.linalg.norm(travelled) / np.linalg.norm(direction)
    assert cosine > 0.999
    np.testing.assert_allclose(servo.velocity_rad_s, 0, atol=1e-9)


def test_nothing_moves_before_the_first_target():
    servo = servo_at(HOME)
    np.testing.assert_array_equal(servo.tick(), HOME)


def test_an_arm_outside_its_range_comes_back_and_goes_no_further_out():
    start = HOME.copy()
    start[2] = HIGH[2] + 0.02
    path = play(servo_at(start), [np.where(np.arange(6) == 2, HIGH[2] - 0.3, HOME)] * 12, after=40)
    assert path[:, 2].max() <= start[2] + 1e-5
    assert path[-1, 2] == pytest.approx(HIGH[2] - 0.3, abs=0.05)
