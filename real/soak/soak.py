"""`python -m real.soak [faults=5000] [seed=0]`: inject faults into the controller's connections.

Half the faults go directly into the frame parsers, half through the sockets of an emulator of
each release while a target moves. After every trial the arm must be at rest and out of servo mode, by
the first stop wherever a stop can reach the controller; no call may have exceeded its deadline, every
state frame sent undamaged must be accounted for and the emulator's limit monitor must not report a
violation. More faults interrupt episodes that are recorded: every period played
must be in the dataset. Exit code 1 when a check fails.
"""

import faulthandler
import logging
import sys
from dataclasses import dataclass

import numpy as np

from real.core.priority import raise_priority
from real.soak.frame_reassembly import ReassemblyResult, soak_reassembly
from real.soak.recorded_episodes import KINDS, RELEASE, RecordingResult, soak_recordings
from real.soak.servo_trials import RELEASES, ServoResult, ServoSoak
from real.workcell.emulator_process import EmulatorProcess
from sim.core.options import SEED, Options, at_least, option

HANG_S = 60.0  # a trial that takes longer hangs: print all threads and end the program

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SoakConfig(Options):
    """The least number of faults, and the seed that draws them."""

    faults: int = option(5000, "to inject, at least", at_least(1))
    seed: int = option(0, "of the random choices", SEED)


def soak_release(firmware: str, faults: int, seed: int) -> ServoResult:
    """Inject at least `faults` faults of all kinds through the sockets of one release."""
    with EmulatorProcess((32, 32), firmware=firmware) as process:
        soak = ServoSoak(process.host, process.ports, np.random.default_rng(seed))
        try:
            while soak.result.faults < faults or not soak.tried_every_kind:
                faulthandler.dump_traceback_later(HANG_S, exit=True)
                soak.trial()
            soak.account()
        finally:
            faulthandler.cancel_dump_traceback_later()
            soak.close()
    return soak.result


def record(size: tuple[int, int] = (32, 32)) -> RecordingResult:
    """Play and record episodes with injected faults. size: (height, width) of the images."""
    with EmulatorProcess(size, firmware=RELEASE) as process:
        faulthandler.dump_traceback_later(len(KINDS) * HANG_S, exit=True)
        try:
            return soak_recordings(process.host, process.ports, size)
        finally:
            faulthandler.cancel_dump_traceback_later()


def report(frames: ReassemblyResult, releases: dict[str, ServoResult], records: RecordingResult) -> str:
    """Return the figures, and a description of each failure."""
    direct = sum(frames.injected.values())
    total = direct + sum(result.faults for result in releases.values())
    lines = [
        f"frame parsers: {direct} faults {frames.injected}, {frames.frames} undamaged frames all found, "
        f"{frames.undetected} damaged ones that CNDE cannot detect",
        *(f"{firmware}: {result.summary()}" for firmware, result in releases.items()),
        f"recorded: {records.summary()}",
    ]
    failures = frames.failures + [text for result in releases.values() for text in result.failures]
    failures += records.failures
    lines.append(f"{total} faults, {len(failures)} failures")
    return "\n".join([*lines, *(f"  {text}" for text in failures)])


def main(config: SoakConfig) -> None:
    """Run the whole program; exit code 1 when a check fails."""
    raise_priority()
    frames = soak_reassembly(config.faults // 2, config.seed)
    share = -(-config.faults // (2 * len(RELEASES)))
    releases = {}
    for number, firmware in enumerate(RELEASES):
        releases[firmware] = soak_release(firmware, share, config.seed + number)
        _log.info("%s: %d faults in %d trials", firmware, releases[firmware].faults, releases[firmware].trials)
    records = record()
    _log.info("%s", report(frames, releases, records))
    if frames.failures or records.failures or any(result.failures for result in releases.values()):
        sys.exit(1)
