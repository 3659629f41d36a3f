"""Damaged state streams fed directly to the frame parsers, faster than through sockets.

Each batch of frames passes a faulty line (lossy_line.py), is cut into reads of arbitrary length and must
be parsed into exactly the frames that were sent undamaged, with every byte accounted for.
"""

from dataclasses import dataclass, field

import numpy as np

from real.emulator.fault_injection import RandomFaults
from real.emulator.lossy_line import LossyLine
from real.fairino import cnde, state_frame
from real.fairino.framing import FrameCutter

SHARES = {"lost": 0.1, "torn": 0.15, "doubled": 0.1, "corrupt": 0.15, "merged": 0.15, "garbage": 0.15}
FRAMES, LONGEST_READ = 200, 3000
SIZES = (888, 902, 954, 960, 1186, 1238)
FLUSH = bytes(cnde.MAX_DATA_BYTES + 8)  # completes any frame that is waiting for more bytes


@dataclass
class ReassemblyResult:
    """The result of a soak of the frame parsers. failures: descriptions."""

    injected: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    undetected: int = 0  # CNDE frames with damaged data: the protocol has no checksum
    failures: list[str] = field(default_factory=list)


def soak_reassembly(faults: int, seed: int) -> ReassemblyResult:
    """Inject at least `faults` faults, half into each protocol."""
    rng, result = np.random.default_rng(seed), ReassemblyResult()
    while sum(result.injected.values()) < faults:
        _batch(rng, result, is_cnde=False)
        _batch(rng, result, is_cnde=True)
    return result


def _batch(rng: np.random.Generator, result: ReassemblyResult, *, is_cnde: bool) -> None:
    """Pass FRAMES frames of one protocol through one faulty line."""
    fields, size = cnde.layout(cnde.RECIPE), int(rng.choice(SIZES))
    line_faults = RandomFaults(lambda kind: SHARES.get(kind, 0.0), rng)
    line, frames, pieces = LossyLine(line_faults), [], []
    for count in range(FRAMES):
        values = {"joint_deg": rng.uniform(-170, 80, 6), "servo_count": count}
        if is_cnde:
            frames.append(cnde.frame(cnde.OUTPUT_DATA, cnde.encode(values, fields), count))
        else:
            frames.append(state_frame.encode(values, count, size))
        line.send(frames[-1], 0.0)
        pieces += [piece.data for piece in line.due(0.0)]
    data = b"".join(pieces) + FLUSH
    cutter = cnde.CndeStream(fields.itemsize) if is_cnde else state_frame.FrameStream()
    found = _feed(cutter, data, rng)
    _judge(result, found, _undamaged(frames, data), line_faults.injected.get("corrupt", 0) if is_cnde else 0)
    if len(data) != sum(map(len, found)) + cutter.skipped_bytes:
        result.failures.append("bytes are not accounted for")
    for kind, number in line_faults.injected.items():
        result.injected[kind] = result.injected.get(kind, 0) + number


def _feed(cutter: FrameCutter, data: bytes, rng: np.random.Generator) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        step = int(rng.integers(1, LONGEST_READ))
        found += cutter.feed(data[at : at + step])
        at += step
    return found


def _undamaged(frames: list[bytes], data: bytes) -> list[bytes]:
    """Return the frames contained whole in `data`, in its order, as often as they occur."""
    places = []
    for frame in frames:
        at = data.find(frame)
        while at >= 0:
            places.append((at, frame))
            at = data.find(frame, at + 1)
    return [frame for _, frame in sorted(places)]


def _judge(result: ReassemblyResult, found: list[bytes], expected: list[bytes], undetectable: int) -> None:
    """Check that every undamaged frame was parsed, in order; beside them at most the damaged ones that no check can
    detect."""
    result.frames += len(expected)
    foreign = [frame for frame in found if frame not in set(expected)]
    result.undetected += len(foreign)
    if [frame for frame in found if frame in set(expected)] != expected:
        result.failures.append("undamaged frames were lost, doubled or reordered")
    if len(foreign) > undetectable:
        result.failures.append(f"{len(foreign)} damaged frames were accepted, {undetectable} cannot be detected")
