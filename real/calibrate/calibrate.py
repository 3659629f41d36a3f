"""`python -m real.calibrate [what=[delays,gripper,dynamics,camera]] [mode=dry|confirm|auto] [out=DIR]`

Measures a robot: its delays, its gripper, the dynamics of its joints, its cameras' lenses and places. `out` gets what
was logged, `calibration.json` with mean and standard deviation of everything, and `randomize.yaml`: copied to
`conf/randomize/calibrated.yaml` it lets the simulator draw arms like this one (randomize=calibrated). `camera` wants
the calibration board (out/board.png, printed with squares of 30 mm) flat on the table below the gripper's home.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from real.calibrate.parts import PARTS, Findings
from real.calibrate.posterior import randomization
from real.calibrate.sight import write_board
from real.core.priority import raise_priority
from real.core.shutdown import Ending
from real.parity.first_look import refuse_unfit, report, robot_checks
from real.workcell.connect import RobotConnection, open_robot
from sim.core.console import tell
from sim.core.errors import UserError, nearest
from sim.core.provenance import provenance

MODES = ("dry", "confirm", "auto")
DEFAULT_MODE = {"emulator": "auto", "fr3": "dry"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class CalibrateConfig:
    """The options of the program; `conf/calibrate.yaml` says what null stands for."""

    robot: RobotConnection = RobotConnection(start="always")
    what: tuple[str, ...] = tuple(PARTS)
    out: str = "runs/calibration"
    mode: str | None = None
    motion_s: float = 120.0  # of excitation for the dynamics
    seed: int = 0  # of the excitation
    height: int = 480  # of the pictures, where the robot's cameras take them for us
    width: int = 640

    def __post_init__(self) -> None:
        for part in self.what:
            if part not in PARTS:
                raise UserError(nearest(part, PARTS, "part in what"))
        if not self.what:
            raise UserError(f"what=[]: expected at least one of {', '.join(PARTS)}")
        if self.mode is not None and self.mode not in MODES:
            raise UserError(nearest(self.mode, MODES, "mode"))
        if not 20.0 <= self.motion_s <= 1800.0:
            raise UserError(f"motion_s={self.motion_s:g}: expected 20 to 1800 s")


def calibrate(config: CalibrateConfig, say: Say = tell, ask: Callable[[str], str] = input) -> dict:
    """The whole program; what calibration.json holds, nothing after a dry run."""
    mode = config.mode or DEFAULT_MODE[config.robot.kind]
    for part in config.what:
        PARTS[part].check()  # libraries that are missing are told before anything moves
    out = _writable(Path(config.out))
    if "camera" in config.what:
        write_board(out / "board.png")
    with open_robot(config.robot, (config.height, config.width), say) as env:
        checks = robot_checks(env)
        say(report(checks))
        if mode == "dry":
            say("dry run: nothing was moved; mode=confirm moves the arm once you say so")
            return {}
        refuse_unfit(checks)
        if mode == "confirm":
            _ask(ask)
        env.driver.switch_on(config.robot.speed_percent)
        findings = Findings(out, env.robot, config.seed, config.motion_s, say)
        with env.mover() as arm:
            for part in config.what:
                say(f"{part}: {PARTS[part].what}")
                PARTS[part].measure(env, arm, findings)
            findings.metadata["guard"] = arm.changed
    findings.fit()
    return _write(out, config, findings, say)


def _writable(out: Path) -> Path:
    """`out` as a directory that takes files. UserError before anything moves when it cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"out={out}: no directory that can be written ({error.strerror}); name another") from error
    return out


def _ask(ask: Callable[[str], str]) -> None:
    """Return once a person has let the arm move. UserError without a person."""
    try:
        ask("hands clear, red button in reach: press Enter to let the arm move, Ctrl-C to end ")
    except (EOFError, OSError):  # OSError: a terminal that is gone
        raise UserError("mode=confirm asks a person, and there is no terminal; expected one, or mode=auto") from None


def _write(out: Path, config: CalibrateConfig, findings: Findings, say: Say) -> dict:
    estimates: Mapping = findings.estimates
    content = {
        "estimates": {name: estimate.plain() for name, estimate in estimates.items()},
        **findings.metadata,
        "provenance": provenance({"config": config}),
    }
    (out / "calibration.json").write_text(json.dumps(content, indent=1))
    (out / "randomize.yaml").write_text(randomization(estimates))
    for name, estimate in estimates.items():
        say(f"  {name:22s} {estimate}")
    say(f"{out / 'randomize.yaml'}: copy it to conf/randomize/calibrated.yaml and give randomize=calibrated")
    return content


def main(config: CalibrateConfig) -> None:
    raise_priority()
    Ending().install()
    calibrate(config)
