"""`python -m real.soak [faults=5000] [seed=0]`: injected faults against the driver and the servo stream.

Half the faults go straight into the frame reassembler, half through the sockets of an emulator of
each release while a target swings. After every trial the arm must stand still outside servo mode, by
the first stop wherever a stop can reach the controller; no call may have outlived its deadline, every
state frame that left undamaged must be accounted for and the emulator's witness must have seen
nothing beyond a limit. Some more faults break episodes that are recorded: every period that was played
must be in the dataset. Exit code 1 when any of it fails.
"""

import faulthandler
import sys
from dataclasses import dataclass

import numpy as np

from real.core.priority import raise_priority
from real.soak.frames import FrameTally, soak_frames
from real.soak.records import KINDS, RELEASE, RecordTally, soak_records
from real.soak.trials import RELEASES, Soak, SoakTally
from real.workcell.emulator_process import EmulatorProcess
from sim.core.errors import UserError

HANG_S = 60.0  # a trial that takes so long is a hang: all threads are printed and the program ends


@dataclass(frozen=True)
class SoakConfig:
    """How many faults at least, and the seed that draws them."""

    faults: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.faults < 1:
            raise UserError(f"faults={self.faults}, expected at least 1")


def soak_release(firmware: str, faults: int, seed: int) -> SoakTally:
    """At least `faults` of all kinds through the sockets of one release."""
    with EmulatorProcess((32, 32), firmware=firmware) as process:
        soak = Soak(process.host, process.ports, np.random.default_rng(seed))
        try:
            while soak.tally.faults < faults or not soak.went_round:
                faulthandler.dump_traceback_later(HANG_S, exit=True)
                soak.trial()
            soak.account()
        finally:
            faulthandler.cancel_dump_traceback_later()
            soak.close()
    return soak.tally


def record(size: tuple[int, int] = (32, 32)) -> RecordTally:
    """Episodes of a rollout in which something goes wrong. size: (height, width) of the pictures."""
    with EmulatorProcess(size, firmware=RELEASE) as process:
        faulthandler.dump_traceback_later(len(KINDS) * HANG_S, exit=True)
        try:
            return soak_records(process.host, process.ports, size)
        finally:
            faulthandler.cancel_dump_traceback_later()


def report(frames: FrameTally, releases: dict[str, SoakTally], records: RecordTally) -> str:
    """The figures, and in words what went wrong."""
    direct = sum(frames.injected.values())
    total = direct + sum(tally.faults for tally in releases.values())
    lines = [
        f"reassembler: {direct} faults {frames.injected}, {frames.frames} undamaged frames all found, "
        f"{frames.undetected} damaged ones that CNDE cannot tell",
        *(f"{firmware}: {tally.summary()}" for firmware, tally in releases.items()),
        f"recorded: {records.summary()}",
    ]
    wrong = frames.wrong + [text for tally in releases.values() for text in tally.wrong]
    wrong += records.wrong
    lines.append(f"{total} faults, {len(wrong)} failures")
    return "\n".join([*lines, *(f"  {text}" for text in wrong)])


def main(config: SoakConfig) -> None:
    """The whole program; exit code 1 when anything went wrong."""
    raise_priority()
    frames = soak_frames(config.faults // 2, config.seed)
    share = -(-config.faults // (2 * len(RELEASES)))
    releases = {}
    for number, firmware in enumerate(RELEASES):
        releases[firmware] = soak_release(firmware, share, config.seed + number)
        print(f"{firmware}: {releases[firmware].faults} faults in {releases[firmware].trials} trials", flush=True)
    records = record()
    print(report(frames, releases, records))
    if frames.wrong or records.wrong or any(tally.wrong for tally in releases.values()):
        sys.exit(1)
