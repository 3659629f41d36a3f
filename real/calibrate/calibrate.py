"""`python -m real.calibrate [parts=[delays,gripper,dynamics,camera]] [mode=dry|confirm|auto] [out=DIR]`

Measure a robot: its delays, its gripper, the dynamics of its joints, its cameras' intrinsics and poses. Writes to `out`
the logs, `calibration.json` with mean and standard deviation of every estimate, and `randomize.yaml`: copied to
`conf/randomize/calibrated.yaml` it makes the simulator draw arms like this one (randomize=calibrated). An `out` that
holds a calibration is refused. What a part estimates is written as soon as it has ended, that of `dynamics` last: it is
fitted once the arm is at rest. `camera` needs the calibration board (out/board.png, printed with squares of 30 mm) flat
on the table below the gripper's home.
"""

import json
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from real.calibrate.board_views import write_board_image
from real.calibrate.estimates import randomization
from real.calibrate.measurements import MEASUREMENTS, Results
from real.core.checks import log_checks, refuse_unfit
from real.core.faults import with_notes
from real.core.priority import raise_priority
from real.core.shutdown import ShutdownRequest
from real.parity.preflight import robot_checks
from real.workcell.connect import RobotConnection, emulator_of_our_own, mode_option, open_robot
from real.workcell.env import RobotEnv
from sim.core.console import event
from sim.core.errors import NOTHING_NEW, UserError, keeps
from sim.core.files import write_together
from sim.core.options import (
    EACH_ONCE,
    FOLDER,
    IMAGE_SIDE,
    NOT_EMPTY,
    SEED,
    OneOf,
    Options,
    between,
    block,
    option,
)
from sim.core.provenance import provenance

CALIBRATION_FILE, RANDOMIZE_FILE = "calibration.json", "randomize.yaml"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrateConfig(Options):
    """Options of the program."""

    robot: RobotConnection = block(emulator_of_our_own, "the arm and its bench")
    parts: tuple[str, ...] = option(
        tuple(MEASUREMENTS), "what to measure, in this order", OneOf(MEASUREMENTS), NOT_EMPTY, EACH_ONCE
    )
    out: str = option("runs/calibration", "folder of the logs and results", FOLDER)
    mode: str | None = mode_option("move after Enter", "move")
    motion_s: float = option(120.0, "of excitation for the dynamics", between(20.0, 1800.0))
    seed: int = option(0, "of the excitation", SEED)
    height: int = option(480, "of an image, pixels", IMAGE_SIDE)
    width: int = option(640, "of an image, pixels", IMAGE_SIDE)


def calibrate(config: CalibrateConfig, ask: Callable[[str], str] = input) -> dict:
    """Run the whole program; returns the content of calibration.json, nothing after a dry run."""
    mode = config.mode or config.robot.default_mode
    for part in config.parts:
        MEASUREMENTS[part].check()  # missing libraries are reported before anything moves
    out = _writable(Path(config.out))
    if mode != "dry" and (out / CALIBRATION_FILE).is_file():
        raise UserError(f"{out} holds a calibration; name another out=DIR")
    if "camera" in config.parts:
        write_board_image(out / "board.png")
    size = (config.height, config.width)
    with open_robot(config.robot, size, board="camera" in config.parts) as env:
        checks = robot_checks(env)
        log_checks(checks)
        if mode == "dry":
            _log.info("dry run: nothing was moved; mode=confirm moves the arm after a confirmation")
            return {}
        refuse_unfit(checks)
        if mode == "confirm":
            _confirm(ask)
        env.driver.power_on(config.robot.speed_percent)
        env.driver.activate_gripper()
        results = Results(out, env.robot, config.seed, config.motion_s)
        failure = _measure_until_failure(env, config, results)
    if failure is not None:
        _keep_measured(config, results, failure)
        raise failure
    content = _fit_and_write(config, results)
    for name, estimate in results.estimates.items():
        _log.info("  %-22s %s", name, estimate, extra=event("estimate", term=name, **estimate.plain()))
    _log.info("%s: copy it to conf/randomize/calibrated.yaml and give randomize=calibrated", out / RANDOMIZE_FILE)
    return content


def kept(out: Path) -> str:
    """Return what an interrupted calibration leaves behind: the parts that had ended."""
    path = out / CALIBRATION_FILE
    names = ", ".join(json.loads(path.read_text())["estimates"] if path.is_file() else ())
    if not names:
        return NOTHING_NEW
    return f"the estimates of {names} are kept in {path}; measure the other parts into another out=DIR"


def _writable(out: Path) -> Path:
    """Return `out` as a directory that takes files. UserError before anything moves when it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"out={out}: cannot be written ({error.strerror}); name another directory") from error
    return out


def _confirm(ask: Callable[[str], str]) -> None:
    """Return once a person has confirmed. UserError without a person."""
    try:
        ask("hands clear, emergency stop in reach: press Enter to let the arm move, Ctrl-C to end\n")
    except (EOFError, OSError):  # OSError: a terminal that is gone
        raise UserError("mode=confirm needs a terminal to ask for a confirmation; use one, or mode=auto") from None


def _measure_until_failure(env: RobotEnv, config: CalibrateConfig, results: Results) -> UserError | None:
    """Run every part; returns what ended it early, told at once: the fit that follows takes minutes."""
    try:
        with keeps(lambda: kept(results.out)):
            _measure(env, config, results)
    except UserError as error:
        _log.error("%s", with_notes(error))
        return error
    return None


def _keep_measured(config: CalibrateConfig, results: Results, failure: UserError) -> None:
    """Write what the parts before `failure` have measured; an error meanwhile becomes a note of it."""
    try:
        _fit_and_write(config, results)
    except UserError as error:
        failure.add_note(f"and nothing came of what was measured before: {error}")


def _measure(env: RobotEnv, config: CalibrateConfig, results: Results) -> None:
    """Run every part, and write the estimates after each."""
    with env.guarded_arm() as arm:
        for part in config.parts:
            _log.info("%s: %s", part, MEASUREMENTS[part].description)
            MEASUREMENTS[part].measure(env, arm, results)
            results.metadata["guard"] = arm.guard_counts
            _write(config, results)


def _fit_and_write(config: CalibrateConfig, results: Results) -> dict:
    with keeps(lambda: kept(results.out)):
        results.fit()
        return _write(config, results)


def _write(config: CalibrateConfig, results: Results) -> dict:
    """Write the estimates so far; returns the content of calibration.json."""
    content = {
        "estimates": {name: estimate.plain() for name, estimate in results.estimates.items()},
        **results.metadata,
        "provenance": provenance({"config": config}),
    }
    texts = {CALIBRATION_FILE: json.dumps(content, indent=1), RANDOMIZE_FILE: randomization(results.estimates)}
    write_together({results.out / name: text.encode() for name, text in texts.items()})
    return content


def main(config: CalibrateConfig) -> None:
    raise_priority()
    ShutdownRequest().install()
    calibrate(config)
