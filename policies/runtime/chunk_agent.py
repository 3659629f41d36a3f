"""An agent that plays action chunks, wherever they are decided: in this process, in a thread or by a server.

Shapes: D action dimension, T steps of a chunk.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Sequence

import numpy as np

from policies.runtime.deciding import AtOnce, InThread
from policies.runtime.ensembling import TemporalEnsemble
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate


@dataclasses.dataclass(frozen=True)
class ChunkSpec:
    """What chunks a policy decides."""

    chunk: int  # T
    action_dim: int  # D
    control_hz: float
    given_steps: int = 0  # how many first steps of a chunk may be given, see `policies.core.interface.Policy`
    execute: int = 8  # steps of each that are played, by default
    ensemble: float | None = None  # decay of `TemporalEnsemble`, by default; None: the newest chunk alone
    memory: int = 0  # earlier looks that it decides on, `execute` steps apart


@dataclasses.dataclass(frozen=True)
class Timing:
    """When chunks are decided and how much of each is played."""

    execute: int | None = None  # steps played before looking again; None: the policy's own
    lead_s: float = 0.0  # how late this robot takes up a command, beyond what the policy was trained with
    inference_delay_s: float = 0.0  # the steps of a chunk that this takes are played from the one before
    in_thread: bool = False  # decide beside what is played, in real time; False: the delay is simulated
    ensemble: float | None = None  # decay of `TemporalEnsemble`, below 0: none; None: the policy's own
    look_hz: float | None = None  # looks a second, beside decisions on the newest; None: one for every decision
    look_delay_s: float = 0.0  # from such a look until it is decided on, simulated; in a thread as long as it takes

    def steps(self, default: int) -> int:
        """Return how many steps of a chunk are played, of a policy that plays `default`."""
        return self.execute or (default if self.decay(None) is None else 1)

    def decay(self, default: float | None) -> float | None:
        """Return the decay of the ensemble, None without one, of a policy that has `default`."""
        chosen = default if self.ensemble is None else self.ensemble
        return None if chosen is None or chosen < 0 else chosen


class ChunkAgent:
    """Plays `execute` steps of each chunk, then it looks again. A subclass decides them.

    Satisfies `sim.episode.loop.Agent`, in simulation and on the robot. Commands are under way while a chunk is
    decided: sent ones that an arm with a lead has not taken up, and those that are played until an inference delay
    is over. The chunk's steps at their times are left out, and a policy with `given_steps` decides the rest to go on
    from them. An episode's first chunk is played whole, after a delay in which the arm is held.

    In a thread a decision may take longer than its delay: the chunk before is played on as far as it reaches, then
    the arm is held; `late_steps` counts both.
    """

    cameras: tuple[str, ...]  # whose images it looks at
    depth_cameras: tuple[str, ...] = ()  # whose depth it looks at
    image_size: tuple[int, int]  # of these, (height, width)
    task: str  # that it was trained on, "" where that is not known

    def __init__(self, spec: ChunkSpec, timing: Timing):
        self.chunks = spec
        self._execute, self._lead, self._delay = steps_of(spec, timing)
        self._deciding = InThread() if timing.in_thread and self._delay else AtOnce()
        decay = timing.decay(spec.ensemble)
        self._ensemble = None if decay is None else TemporalEnsemble(decay)
        self._sent: deque[np.ndarray] = deque()
        self.decision_s: list[float] = []  # how long each look-to-chunk took
        self.server_s: list[float] = []  # how much of that a server computed, where one decides; nan: it does not say
        self.late_steps = 0  # played or held because a decision took longer than its delay
        self.estimates: list[Estimate] = []  # where it found the named things at its newest look, if it estimates that
        self.within_m: dict[str, list[float]] = {}  # 95 % region of each of those, at every look of the episode
        self.subtasks: list[str] = []  # what it named of the episode, in order; the last is under way

    # ---- sim.episode.loop.Agent ------------------------------------------------------------------

    def reset(self, observation: Observation, seed: int) -> None:
        """Begin an episode; the seed fixes the noise that actions are sampled from."""
        self.estimates, self.within_m, self.subtasks = [], {}, []
        self._sent.clear()
        self.restart(observation, seed)

    def restart(self, observation: Observation, seed: int) -> None:
        """Begin anew, in an episode as well: another step of a plan, a second attempt. Its record is kept."""
        self._deciding.drop()
        self._plan: list[np.ndarray] = []
        self._rest: list[np.ndarray] = []  # of the newest chunk, beyond what is to be played
        self._skip = 0  # first steps of the chunk that is being decided which are played from the one before
        self._played, self._first = 0, 0  # steps of the episode; that which the newest chunk's first action is for
        if self._ensemble:
            self._ensemble.clear()
        self.estimates = []
        # The command that the arm shows the effect of, then those that it has not taken up; at first it is at rest.
        self._sent = deque([self._at_rest(observation)], self._lead + 1)
        self.begin(seed)

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next action (D,)."""
        self._take_up()
        if len(self._plan) <= self._delay and not self._deciding.busy:
            self._look(observation)
            self._take_up()
        if not self._plan:
            self._plan = [self._late_step()]
        self._played += 1
        self._sent.append(self._plan.pop(0))
        return self._sent[-1]

    def note_executed(self, action: np.ndarray) -> None:
        """Take note of what the motion guard made of the last action (D,): the next chunk starts from that.

        Also of one that was not this agent's, where a person or a way back acted: its opening is held after `restart`.
        """
        self._sent[-1] = np.asarray(action, np.float32)

    @property
    def upcoming(self) -> np.ndarray:
        """(n, D) what is decided and not played yet: the motion guard looks ahead."""
        return np.array(self._plan, np.float32).reshape(-1, self.chunks.action_dim)

    def flags(self) -> dict[str, bool]:
        return {}

    # ---- for subclasses --------------------------------------------------------------------------

    def begin(self, seed: int) -> None:
        """Begin an episode, or anew in one."""
        raise NotImplementedError

    def looked_at(self, observation: Observation) -> Observation:
        """Return the observation with the images and depth that a decision needs, rendered."""
        images = {camera: observation.images[camera] for camera in self.cameras}
        depth = {camera: observation.depth[camera] for camera in self.depth_cameras if camera in observation.depth}
        return dataclasses.replace(observation, images=images, depth=depth)

    def _decide(self, observation: Observation, commanded: np.ndarray, under_way: list[np.ndarray]) -> np.ndarray:
        """Return (T, D) absolute targets."""
        raise NotImplementedError

    def note_estimates(self, estimates: Sequence[Estimate]) -> None:
        """Keep where the named things are in the world, and how sure that is."""
        if not estimates:
            return
        self.estimates = list(estimates)
        for one in self.estimates:
            self.within_m.setdefault(one.name, []).append(round(one.within_m, 4))

    def note_subtask(self, subtask: str) -> None:
        """Keep what it is about, in words, where that is another than before; "": it names none.

        Chunks of the one before are no longer averaged with.
        """
        if not subtask or subtask in self.subtasks[-1:]:
            return
        self.subtasks.append(subtask)
        if self._ensemble:
            self._ensemble.clear()

    # ---- parts -----------------------------------------------------------------------------------

    def _look(self, observation: Observation) -> None:
        """Begin to decide a chunk."""
        commanded, *late = self._sent
        under_way, self._skip, self._first = [*late, *self._plan], len(late) + len(self._plan), self._played - len(late)
        if not self._plan:  # nothing can be played during the delay: the arm is held
            self._plan, self._rest = [self._at_rest(observation)] * self._delay, []
            self._first += self._delay
        looked_at = self.looked_at(observation)  # before the clock starts: a camera's time is not the policy's

        def timed() -> np.ndarray:
            begun = time.perf_counter()
            chunk = self._decide(looked_at, commanded, under_way)
            self.decision_s.append(time.perf_counter() - begun)
            return chunk

        self._deciding.begin(timed)

    def _at_rest(self, observation: Observation) -> np.ndarray:
        """Return the command (D,) that holds the arm where it is, and what it has grasped: the opening is the one
        commanded last, as the measured one of fingers around a thing would let go of it; where none was, as measured.
        """
        last = self._sent[-1] if self._sent else observation.state
        return np.append(observation.state[:-1], last[-1]).astype(np.float32)

    def _take_up(self) -> None:
        """Append `execute` steps of a chunk that is decided to what is planned."""
        if not self._deciding.ready:
            return
        chunk = self._deciding.result()
        if self._ensemble:
            chunk = self._ensemble.average(self._first, chunk)
        end = self._skip + self._execute
        self._plan += list(chunk[self._skip : end])
        # A chunk that joins later still must have a step left.
        self._rest = list(chunk[end : end + max(len(chunk) - 1 - self._lead - self._delay, 0)])

    def _late_step(self) -> np.ndarray:
        """Return what is played while a decision is late: the chunk before, the last action when that is over."""
        self.late_steps += 1
        if not self._rest:
            self._played -= 1  # held: no step of a chunk
            return self._sent[-1]
        self._skip += 1
        return self._rest.pop(0)


def steps_of(spec: ChunkSpec, timing: Timing) -> tuple[int, int, int]:
    """Return how many steps are played of a chunk, the lead and the inference delay, in steps.

    UserError when chunks are too short for what is played and what is under way, or looks that a policy remembers
    would lie closer or farther apart than in training.
    """
    hz, execute = spec.control_hz, timing.steps(spec.execute)
    if spec.memory and execute != spec.execute:
        raise UserError(
            f"execute={execute}: expected {spec.execute}, the steps between the looks that this policy remembers "
            f"(policy.memory={spec.memory}); it plays without ensemble"
        )
    lead, delay = round(timing.lead_s * hz), math.ceil(round(timing.inference_delay_s * hz, 6))
    if not 1 <= execute <= spec.chunk:
        raise UserError(f"execute={execute}: expected 1 to {spec.chunk}, the steps of the policy's chunks")
    longest = spec.chunk - execute
    longest = min(longest, spec.given_steps or longest)
    if not 0 <= lead <= longest:
        raise UserError(
            f"lead_s={timing.lead_s:g}: expected 0 to {longest / hz:g}, what the policy's chunks reach beyond "
            "what is played"
        )
    longest = min(longest - lead, execute)
    if not 0 <= delay <= longest:
        raise UserError(
            f"inference_delay_s={timing.inference_delay_s:g}: expected 0 to {longest / hz:g}, what is played "
            "before the next look and what the policy's chunks reach beyond it"
        )
    return execute, lead, delay
