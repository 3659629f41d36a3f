"""Logs of a motion: commands and measurements by this machine's clock, and both by the controller's cycles.

Networks and schedulers delay commands and states by milliseconds. The controller
works in cycles of 8 ms and counts the commands it accepts: this removes the jitter again, as needed to identify
friction that shows in hundredths of a milliradian.
"""

import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from real.fairino.controller_state import ControllerState
from real.fairino.driver import FairinoDriver
from real.fairino.servo_link import ServoLink
from sim.core.errors import UserError
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

UNCOUNTED = -1
RECOVERY_CYCLES = 25  # 0.2 s: delay and settling of the drives


@dataclass(frozen=True)
class MotionLog:
    """n commands sent and m states received; monotonic s, rad, gripper opening 0..1."""

    sent_s: np.ndarray  # (n,)
    sent_rad: np.ndarray  # (n, joints)
    received_s: np.ndarray  # (m,)
    joints_rad: np.ndarray  # (m, joints)
    joints_rad_s: np.ndarray  # (m, joints)
    taken: np.ndarray  # (m,) commands counted by the controller; UNCOUNTED where the frame has no count
    opening: np.ndarray  # (m,)

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True)
class CycleLog:
    """T cycles of the controller, SERVO_PERIOD_S each. Row t: the target in force during cycle t, and the measurement
    at its end, nan where no state arrived.

    trusted: the target in force is known, and has been for RECOVERY_CYCLES. It is uncertain after lost states and,
    where the controller does not count commands, after every late command.
    latency_s: mean time from sending a command to the beginning of the first cycle that is assigned to it.
    """

    command_rad: np.ndarray  # (T, joints)
    joints_rad: np.ndarray  # (T, joints)
    joints_rad_s: np.ndarray  # (T, joints)
    trusted: np.ndarray  # (T,) bool
    latency_s: float


class MotionRecorder:
    """Records every command and every state of a streaming driver while its context is open."""

    def __init__(self, driver: FairinoDriver):
        self._driver = driver
        self._sent: list[tuple[float, np.ndarray]] = []
        self._states: list[ControllerState] = []

    def __enter__(self) -> "MotionRecorder":
        self._link = self._driver.servo_link
        self._driver.servo_link = _RecordingLink(self._link, self._sent)
        self._driver.states.listeners.append(self._states.append)
        return self

    def __exit__(self, *_) -> None:
        self._driver.servo_link = self._link
        self._driver.states.listeners.remove(self._states.append)

    def log(self) -> MotionLog:
        """Return what was recorded so far. UserError without commands or without states."""
        sent, states = list(self._sent), list(self._states)
        if len(sent) < 2 or len(states) < 2:
            raise UserError(f"only {len(sent)} commands and {len(states)} states were recorded; is the arm streaming?")
        counts = [UNCOUNTED if state.servo_count is None else state.servo_count for state in states]
        return MotionLog(
            sent_s=np.array([at_s for at_s, _ in sent]),
            sent_rad=np.deg2rad([joint_deg for _, joint_deg in sent]),
            received_s=np.array([state.stamp_s for state in states]),
            joints_rad=np.deg2rad([state.joint_deg for state in states]),
            joints_rad_s=np.deg2rad([state.joint_deg_s for state in states]),
            taken=np.array(counts),
            opening=np.array([state.gripper_percent / 100 for state in states]),
        )


class _RecordingLink:
    """A servo link that records the commands it passes on."""

    def __init__(self, link: ServoLink, sent: list):
        self.name, self._link, self._sent = link.name, link, sent

    def begin(self, joint_deg: list[float]) -> None:
        self._link.begin(joint_deg)

    def send(self, joint_deg: list[float]) -> None:
        self._sent.append((time.monotonic(), np.array(joint_deg)))
        self._link.send(joint_deg)

    def close(self) -> None:
        self._link.close()


def on_cycles(log: MotionLog) -> CycleLog:
    """Assign every state of `log` to its cycle and every command to the cycles in which it was in force.

    Begins with the first state for which a command is known. UserError when there is none.
    """
    cycle, begin_s = _cycles(log.received_s)
    held = _held_command(log)
    known = (held >= 0) & (held < len(log.sent_s))
    if not known.any():
        raise UserError("no state of the log belongs to a command that was sent")
    cycle, held, first = cycle[known], held[known], cycle[known][0]
    length = int(cycle[-1] - first) + 1
    measured, speed = np.full((2, length, log.joints_rad.shape[1]), np.nan)
    measured[cycle - first], speed[cycle - first] = log.joints_rad[known], log.joints_rad_s[known]
    # The controller makes up for a cycle without a state together with the next one.
    command = log.sent_rad[held[np.searchsorted(cycle, np.arange(length) + first)]]
    counted = not (log.taken == UNCOUNTED).any()
    trusted = _trusted(cycle - first, held, length, counted=counted)
    # Only the first cycle of each command: repeated ones would count a busy machine as latency.
    sure = trusted[cycle - first] & (np.diff(held, prepend=-1) > 0)
    if not sure.any():
        raise UserError("no cycle of the log can be trusted; is the machine too busy, or the network too slow?")
    starts_s = begin_s + cycle[sure] * SERVO_PERIOD_S
    latency_s = float((starts_s - log.sent_s[held[sure]]).mean())
    return CycleLog(command, measured, speed, trusted, latency_s)


def _trusted(cycle: np.ndarray, held: np.ndarray, length: int, *, counted: bool) -> np.ndarray:
    """Return (length,) bool: each of the last RECOVERY_CYCLES had its state and, unless counted, a new command.

    Where the controller counts, a command that waits for the next cycle, or is overtaken there, is certain.
    """
    trusted = np.ones(length, bool)
    uncertain = np.diff(cycle) != 1
    if not counted:
        uncertain |= np.diff(held) != 1
    for k in np.flatnonzero(uncertain):
        trusted[cycle[k] : cycle[k + 1] + RECOVERY_CYCLES] = False
    return trusted


def _cycles(received_s: np.ndarray) -> tuple[np.ndarray, float]:
    """Return (m,) the cycle of each state, and when cycle 0 began: periods of SERVO_PERIOD_S, states slightly late."""
    phases = np.exp(2j * np.pi * received_s / SERVO_PERIOD_S)
    offset_s = float(np.angle(phases.mean()) / (2 * np.pi) * SERVO_PERIOD_S)
    cycle = np.rint((received_s - offset_s) / SERVO_PERIOD_S).astype(int)
    # A late state was assigned to its successor's cycle: the later ones are right.
    order = np.arange(len(cycle))
    cycle = np.minimum.accumulate((cycle - order)[::-1])[::-1] + order
    end_s = offset_s + cycle[0] * SERVO_PERIOD_S
    return cycle - cycle[0], end_s - SERVO_PERIOD_S


def _held_command(log: MotionLog) -> np.ndarray:
    """Return (m,) the number of the command in force when each state was measured; outside 0..n-1: not in the log."""
    sent_before = np.searchsorted(log.sent_s, log.received_s)
    if (log.taken == UNCOUNTED).any():
        return np.searchsorted(log.sent_s, log.received_s - SERVO_PERIOD_S) - 1
    # At some state no command was in transit: there the controller's count is ours plus what it had counted before.
    streaming = (sent_before > 0) & (sent_before < len(log.sent_s))
    before = int((log.taken - sent_before)[streaming].max())
    return log.taken - before - 1
