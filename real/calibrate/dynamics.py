"""Joint friction, damping, armature, servo gain, payload and delay, fitted to logged motion with `mujoco.sysid`.

The log is cut into short segments. Each is simulated from its first measured state with the commands that the
controller held, on the arm alone, with the parameters that the simulator randomizes; least squares on the joint angles.
The covariance allows for dependent residuals within a segment (sandwich, clustered by segment): neighbouring
samples of an arm are far from independent, and treating them as such would underestimate the uncertainty.

What makes the parameters identifiable: in joints, a servo of stiffness g kp shows damping d, friction f and inertia
M + a as (g kv + d) / (g kp) of time behind its command, f / (g kp) of hysteresis and (M + a) / (g kp) of overshoot.
Motion alone determines all of them up to one common factor. It is fixed by the links' masses in M, which are taken as
known, and by the time kv / kp of the drive itself. The delay, common to all joints, acts like damping except
in its growth with frequency: the fastest sines of the excitation separate the two. On a drive whose kv / kp is not
the model's, `joint_damping` absorbs the difference: damping and velocity gain act alike.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from real.calibrate.bare_arm import BareArm
from real.calibrate.estimates import Estimate
from real.calibrate.motion_log import CycleLog
from real.calibrate.residuals import clustered_covariance, without_outliers
from sim.core.errors import UserError
from sim.robots.fairino_fr3 import SERVO_PERIOD_S
from sim.robots.robot import Robot
from sim.scene.build import PHYSICS_DT_S

SEGMENT_CYCLES = 200  # 1.6 s
SETTLE_CYCLES = 50  # not compared: until the first state has no influence, and the longest delay
TRUSTED = 0.3  # of a segment's cycles, at least
MAX_DELAY_S = 0.2
RESIDUAL_UNIT_RAD = 1e-3
STEP = 1e-4  # of finite differences: above the solver's tolerance
MAX_ITERATIONS = 25
CLEANINGS = 2  # fits again without outliers
STEPS = round(SERVO_PERIOD_S / PHYSICS_DT_S)
FIRST_LAGS_MS = np.arange(-16.0, 1e3 * MAX_DELAY_S, 4.0)
FIRST_SEGMENTS = 6  # enough for a first estimate of the lag


def fit_dynamics(logs: Sequence[CycleLog], robot: Robot, threads: int | None = None) -> dict[str, Estimate]:
    """Return estimates by the names of the randomized terms; joint_damping and joint_friction_nm have one per joint.

    action_delay_s counts from sending a command, controller_delay_s from the controller cycle to which the log assigns
    it (exact where the controller counts commands). UserError without mujoco[sysid] or with too short a log.
    """
    sysid = load_sysid()
    arm = BareArm(robot)
    segments = [segment for log in logs for segment in _segments(log)]
    if len(segments) < 4:
        length_s = SEGMENT_CYCLES * SERVO_PERIOD_S
        raise UserError(f"{len(segments)} segments of {length_s:g} s of undisturbed motion, at least 4 are needed")
    parameters = _parameters(sysid, robot.joints)
    few = segments[:: -(-len(segments) // FIRST_SEGMENTS)]
    parameters["lag_ms"].value[:] = _first_lag_ms(_residual(sysid, arm, few, threads), parameters.copy())
    parameters, result, rows = _optimize(sysid, parameters, _residual(sysid, arm, segments, threads))
    for _ in range(CLEANINGS):
        by_cycle = rows.reshape(-1, robot.joints, len(segments))
        segments = without_outliers(segments, by_cycle, SETTLE_CYCLES)
        parameters, result, rows = _optimize(sysid, parameters, _residual(sysid, arm, segments, threads))
    covariance = clustered_covariance(np.asarray(result.jac), rows)
    estimates = _estimates(parameters, np.sqrt(np.diag(covariance)))
    taken_s = float(np.mean([log.latency_s for log in logs]))
    lag_s = estimates.pop("lag_s")
    return {**estimates, "controller_delay_s": lag_s, "action_delay_s": Estimate(lag_s.mean + taken_s, lag_s.std)}


def _residual(sysid: Any, arm: BareArm, segments: list[CycleLog], threads: int | None) -> Any:
    """Return sysid's function of a vector and parameters: ([(samples * joints, segments)] in RESIDUAL_UNIT_RAD, ..)."""
    return sysid.build_residual_fn(
        models_sequences=[_sequences(sysid, arm, segments)],
        build_model=lambda parameters, spec: arm.model_with(_values(parameters)),
        modify_residual=_compare,
        resample_true=False,
        **({"n_threads": threads} if threads else {}),
    )


def _optimize(sysid: Any, parameters: Any, residual: Any) -> tuple[Any, Any, np.ndarray]:
    """Return (best parameters, sysid's result, residuals (samples * joints, segments)) from `parameters` on."""
    with contextlib.redirect_stdout(io.StringIO()):  # sysid prints every iteration, whatever `verbose` is
        best, result = sysid.optimize(
            parameters, residual, optimizer="mujoco", verbose=False, max_iters=MAX_ITERATIONS, eps=STEP, x_scale="jac",
            xtol=1e-5,
        )  # fmt: skip
    return best, result, np.stack(residual(result.x, best.copy())[0], axis=-1)


def _first_lag_ms(residual: Any, parameters: Any) -> float:
    """Return the best of FIRST_LAGS_MS with all else at its start values. A search that starts far from it attributes
    the lag to inertia and damping, and ends at the bounds of both.
    """

    def cost(lag_ms: float) -> float:
        parameters["lag_ms"].value[:] = lag_ms
        return sum(float(np.square(part).sum()) for part in residual(parameters.as_vector(), parameters)[0])

    return float(min(FIRST_LAGS_MS, key=cost))


def load_sysid() -> Any:
    """Return `mujoco.sysid`. UserError where its dependencies are missing."""
    from mujoco import sysid

    if not hasattr(sysid, "optimize"):
        raise UserError("fitting the dynamics needs mujoco.sysid; install it with: pip install 'mujoco[sysid]==4.0.0'")
    return sysid


def _parameters(sysid: Any, joints: int) -> Any:
    """Start values and bounds of the search; lag_ms in ms, so that all have one order of magnitude."""
    each = np.ones(joints)
    found = sysid.ParameterDict()
    found.add(sysid.Parameter("joint_damping", each, 0.05 * each, 20 * each))
    found.add(sysid.Parameter("joint_friction_nm", 0.3 * each, 0 * each, 20 * each))
    found.add(sysid.Parameter("joint_armature", 1.0, 0.1, 10.0))
    found.add(sysid.Parameter("servo_gain", 1.0, 0.1, 5.0))
    found.add(sysid.Parameter("payload_kg", 0.1, 0.0, 3.0))
    found.add(sysid.Parameter("lag_ms", 4.0, -20.0, 1e3 * MAX_DELAY_S))
    return found


def _values(parameters: Any) -> dict:
    vector = ("joint_damping", "joint_friction_nm")
    values = {name: parameters[name].value for name in vector}
    return values | {name: float(parameters[name].value[0]) for name in ("joint_armature", "servo_gain", "payload_kg")}


def _segments(log: CycleLog) -> list[CycleLog]:
    """Return pieces of SEGMENT_CYCLES that begin with a measured state and of which at least TRUSTED is trusted."""
    present = np.isfinite(log.joints_rad[:, 0])
    pieces, begin = [], 0
    while begin + SEGMENT_CYCLES <= len(present):
        piece = slice(begin, begin + SEGMENT_CYCLES)
        if not present[begin]:
            begin += 1
            continue
        if log.trusted[piece].mean() >= TRUSTED:
            parts = [part[piece] for part in (log.command_rad, log.joints_rad, log.joints_rad_s, log.trusted)]
            pieces.append(CycleLog(*parts, latency_s=log.latency_s))
        begin += SEGMENT_CYCLES
    return pieces


def _sequences(sysid: Any, arm: BareArm, segments: list[CycleLog]) -> Any:
    """Return the segments in sysid's form: a first state, commands at every physics step, measurements every cycle."""
    model = arm.spec.compile()
    joints = {name: (sysid.SignalType.MjSensor, np.array([i])) for i, name in enumerate(_sensor_names(model))}
    starts, controls, measured = [], [], []
    for segment in segments:
        starts.append(sysid.create_initial_state(model, segment.joints_rad[0], segment.joints_rad_s[0]))
        # The first state is the end of the first cycle. sysid drops the last control.
        command = np.repeat(segment.command_rad[1:], STEPS, axis=0)
        command = np.concatenate([command, command[-1:]])
        controls.append(sysid.TimeSeries(np.arange(len(command)) * PHYSICS_DT_S, command))
        times = np.arange(1, SEGMENT_CYCLES) * SERVO_PERIOD_S
        seen = np.where(segment.trusted[:, None], segment.joints_rad, np.nan)
        measured.append(sysid.TimeSeries(times, seen[1:], joints))
    names = [f"segment_{i}" for i in range(len(segments))]
    return sysid.ModelSequences("arm", arm.spec, names, starts, controls, measured)


def _sensor_names(model: mujoco.MjModel) -> list[str]:
    return [model.sensor(i).name for i in range(model.nsensor)]


def _compare(parameters: Any, predicted: Any, measured: Any, model: mujoco.MjModel, *_, state: np.ndarray):
    """Return predicted minus measured joints (T, joints), the prediction delayed by the lag; 0 in cycles not
    trusted."""
    del predicted
    path_rad = state[:, 1 : 1 + model.nq]  # after the time; row i at the end of physics step i + 1
    at = np.arange(SETTLE_CYCLES, SEGMENT_CYCLES - 4)
    step = at * STEPS - 1 - float(parameters["lag_ms"].value[0]) * 1e-3 / PHYSICS_DT_S
    late_rad = _interpolated(path_rad, step)
    seen_rad = measured.data[at - 1]
    residual = np.where(np.isfinite(seen_rad), late_rad - seen_rad, 0.0) / RESIDUAL_UNIT_RAD
    return residual, measured, measured


def _interpolated(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return rows at fractional numbers `at`, by the parabola through the three nearest."""
    middle = np.clip(np.rint(at).astype(int), 1, len(rows) - 2)
    x = (at - middle)[:, None]
    before, here, after = rows[middle - 1], rows[middle], rows[middle + 1]
    return here + x * (after - before) / 2 + x * x * (before - 2 * here + after) / 2


def _estimates(fitted: Any, std: np.ndarray) -> dict[str, Estimate]:
    found, first = {}, 0
    for name, parameter in fitted.parameters.items():
        part = slice(first, first := first + parameter.size)
        mean, spread = parameter.value.flatten(), std[part]
        found[name] = Estimate(mean, spread) if parameter.size > 1 else Estimate(float(mean[0]), float(spread[0]))
    lag_ms = found.pop("lag_ms")
    return {**found, "lag_s": Estimate(lag_ms.mean * 1e-3, lag_ms.std * 1e-3)}
