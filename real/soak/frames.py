"""Damaged state streams straight into the reassembler: what no socket can deliver fast enough.

Each batch of frames goes through a bad line (noise.py), is cut into reads of any length and must
come out as exactly the frames that left undamaged, with every byte accounted for.
"""

from dataclasses import dataclass, field

import numpy as np

from real.emulator.accidents import Chance
from real.emulator.noise import FrameNoise
from real.fairino import cnde, state_frame
from real.fairino.framing import FrameCutter

SHARES = {"lost": 0.1, "torn": 0.15, "doubled": 0.1, "corrupt": 0.15, "merged": 0.15, "garbage": 0.15}
FRAMES, LONGEST_READ = 200, 3000
SIZES = (888, 902, 954, 960, 1186, 1238)
FLUSH = bytes(cnde.MAX_DATA_BYTES + 8)  # whatever waits for more bytes gets them


@dataclass
class FrameTally:
    """What a soak of the reassembler found. `wrong`: in words."""

    injected: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    undetected: int = 0  # CNDE frames with damaged data: that protocol has no checksum
    wrong: list[str] = field(default_factory=list)


def soak_frames(faults: int, seed: int) -> FrameTally:
    """Inject at least `faults` damages, half into each protocol."""
    rng, tally = np.random.default_rng(seed), FrameTally()
    while sum(tally.injected.values()) < faults:
        _batch(rng, tally, is_cnde=False)
        _batch(rng, tally, is_cnde=True)
    return tally


def _batch(rng: np.random.Generator, tally: FrameTally, *, is_cnde: bool) -> None:
    """FRAMES frames of one protocol through one bad line."""
    fields, size = cnde.layout(cnde.RECIPE), int(rng.choice(SIZES))
    chance = Chance(lambda kind: SHARES.get(kind, 0.0), rng)
    noise, frames, pieces = FrameNoise(chance), [], []
    for count in range(FRAMES):
        values = {"joint_deg": rng.uniform(-170, 80, 6), "servo_count": count}
        if is_cnde:
            frames.append(cnde.frame(cnde.OUTPUT_DATA, cnde.encode(values, fields), count))
        else:
            frames.append(state_frame.encode(values, count, size))
        noise.send(frames[-1], 0.0)
        pieces += [piece.data for piece in noise.due(0.0)]
    data = b"".join(pieces) + FLUSH
    cutter = cnde.CndeStream(fields.itemsize) if is_cnde else state_frame.FrameStream()
    found = _feed(cutter, data, rng)
    _judge(tally, found, _undamaged(frames, data), chance.injected.get("corrupt", 0) if is_cnde else 0)
    if len(data) != sum(map(len, found)) + cutter.skipped_bytes:
        tally.wrong.append("bytes are not accounted for")
    for kind, number in chance.injected.items():
        tally.injected[kind] = tally.injected.get(kind, 0) + number


def _feed(cutter: FrameCutter, data: bytes, rng: np.random.Generator) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        step = int(rng.integers(1, LONGEST_READ))
        found += cutter.feed(data[at : at + step])
        at += step
    return found


def _undamaged(frames: list[bytes], data: bytes) -> list[bytes]:
    """The frames that stand whole in `data`, in its order, as often as they stand there."""
    places = []
    for frame in frames:
        at = data.find(frame)
        while at >= 0:
            places.append((at, frame))
            at = data.find(frame, at + 1)
    return [frame for _, frame in sorted(places)]


def _judge(tally: FrameTally, found: list[bytes], expected: list[bytes], undetectable: int) -> None:
    """Every undamaged frame came out, in order; beside them at most what no check can tell."""
    tally.frames += len(expected)
    foreign = [frame for frame in found if frame not in set(expected)]
    tally.undetected += len(foreign)
    if [frame for frame in found if frame in set(expected)] != expected:
        tally.wrong.append("undamaged frames were lost, doubled or came out of order")
    if len(foreign) > undetectable:
        tally.wrong.append(f"{len(foreign)} damaged frames were taken, {undetectable} cannot be told")
