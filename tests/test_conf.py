"""Configuration: every file composes into its dataclass, every slip is named, in one line and exit code 2."""

import dataclasses
import subprocess
import sys

import pytest
import yaml

from policies.evaluate import EvaluateConfig
from policies.pretrain_grounding import BackboneConfig
from policies.report import ReportConfig
from policies.robustness import TransferConfig
from policies.train import TrainConfig
from real.benchmark import BenchmarkConfig as RealBenchmarkConfig
from real.calibrate.calibrate import CalibrateConfig
from real.emulator.emulator import EmulatorConfig
from real.parity.parity import ParityConfig
from real.rollout.rollout import RolloutConfig
from real.soak.soak import SoakConfig
from real.workcell.connect import RobotConfig
from rl.correct import CorrectConfig
from rl.run.options import RecapConfig
from rl.sb3 import Sb3Config
from sim.benchmark.benchmark import BenchmarkConfig
from sim.collect import CollectConfig
from sim.core.config import CONF, load, typed
from sim.core.errors import UserError
from sim.evaluate_expert import ExpertTableConfig
from sim.guard_benchmark.guard_benchmark import GuardBenchmarkConfig
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.replay import ReplayConfig
from sim.view import ViewConfig

PROGRAMS = {
    "benchmark": ("sim.benchmark", BenchmarkConfig),
    "calibrate": ("real.calibrate", CalibrateConfig),
    "collect": ("sim.collect", CollectConfig),
    "correct": ("rl.correct", CorrectConfig),
    "emulator": ("real.emulator", EmulatorConfig),
    "train": ("policies.train", TrainConfig),
    "backbone": ("policies.pretrain_grounding", BackboneConfig),
    "evaluate": ("policies.evaluate", EvaluateConfig),
    "guard_benchmark": ("sim.guard_benchmark", GuardBenchmarkConfig),
    "parity": ("real.parity", ParityConfig),
    "real_benchmark": ("real.benchmark", RealBenchmarkConfig),
    "recap": ("rl.recap", RecapConfig),
    "replay": ("sim.replay", ReplayConfig),
    "report": ("policies.report", ReportConfig),
    "rollout": ("real.rollout", RolloutConfig),
    "sb3": ("rl.sb3", Sb3Config),
    "soak": ("real.soak", SoakConfig),
    "expert_table": ("sim.evaluate_expert", ExpertTableConfig),
    "transfer": ("policies.robustness", TransferConfig),
    "view": ("sim.view", ViewConfig),
}
GROUPS = {
    "policy": ("train", "backbone", "recap"),
    "randomize": (
        "collect",
        "correct",
        "backbone",
        "emulator",
        "evaluate",
        "recap",
        "sb3",
        "expert_table",
        "transfer",
        "view",
    ),
    "twin": ("collect", "correct", "emulator", "evaluate", "expert_table", "view"),
    "split": ("evaluate", "expert_table", "view"),
    "render": ("collect", "correct", "emulator", "evaluate", "replay", "view"),
    "quality": ("collect", "expert_table"),
    "robot": ("parity", "rollout", "calibrate"),
}
EXPERIMENTS = {"demo": "recap", "pick_place": "recap", "smoke": "recap", "reach_ppo": "sb3"}  # each for one program
NEEDED = {("rollout", "robot", "fr3"): ["robot.instruction=tidy up"]}  # what a choice cannot know


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_no_configuration_file_is_forgotten_here():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(PROGRAMS)
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == {*GROUPS, "exp"}
    assert set(choices("exp")) == set(EXPERIMENTS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_composes_bare(program):
    schema = PROGRAMS[program][1]
    assert isinstance(load(program, schema, []), schema)


@pytest.mark.parametrize(
    ("program", "group", "choice"),
    [(program, group, choice) for group, users in GROUPS.items() for program in users for choice in choices(group)],
)
def test_every_choice_composes(program, group, choice):
    load(program, PROGRAMS[program][1], [f"{group}={choice}", *NEEDED.get((program, group, choice), [])])


@pytest.mark.parametrize(("choice", "program"), EXPERIMENTS.items())
def test_an_experiment_composes_for_its_program_and_is_refused_by_another(choice, program):
    load(program, PROGRAMS[program][1], [f"+exp={choice}"])
    other = "recap" if program == "sb3" else "sb3"
    with pytest.raises(UserError, match="unknown option|not in struct"):
        load(other, PROGRAMS[other][1], [f"+exp={choice}"])


def test_the_files_say_what_the_dataclasses_say():
    assert load("collect", CollectConfig, []).randomize == RandomizeConfig()
    assert load("collect", CollectConfig, ["randomize=none"]).randomize == nominal()
    assert load("train", TrainConfig, []) == TrainConfig()
    assert load("rollout", RolloutConfig, ["robot=emulator"]).robot == RobotConfig()
    assert load("emulator", EmulatorConfig, []) == EmulatorConfig()
    assert load("soak", SoakConfig, []) == SoakConfig()
    assert load("real_benchmark", RealBenchmarkConfig, []) == RealBenchmarkConfig()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_misspelt_option_is_named_with_the_nearest(program):
    schema = PROGRAMS[program][1]
    option = dataclasses.fields(schema)[-1].name
    slip = f"{option[:2]}{option[1:]}"
    with pytest.raises(UserError, match=f"unknown option '{slip}'.*did you mean '{option}'"):
        load(program, schema, [f"{slip}=1"])
    with pytest.raises(UserError, match=f"unknown option '{slip}'"):
        load(program, schema, [f"+{slip}=1"])


@pytest.mark.parametrize(
    ("program", "override", "message"),
    [
        ("train", "policy=smal", "unknown choice for policy 'smal', expected one of .*did you mean 'small'"),
        ("collect", "randomize=lihgt", "unknown choice for randomize .*did you mean 'light'"),
        ("rollout", "robot=fr4", "unknown choice for robot .*did you mean 'fr3'"),
        ("recap", "+exp=pickplace", "unknown choice for exp .*did you mean 'pick_place'"),
        ("train", "optim.setps=3", "setps"),
        ("train", "+optim.setps=3", "unknown option 'optim.setps'.*did you mean 'optim.steps'"),
        ("train", "optim.steps=many", "optim.steps='many' is of type str, expected int"),
        ("collect", "episodes=0", "expected at least 1"),
        ("collect", "episodes", "'episodes' is not understood, expected key=value"),
        ("collect", "task=pick_plaice", "unknown task .*did you mean 'pick_place'"),
        ("rollout", "mode=atuo", "unknown mode .*did you mean 'auto'"),
        ("collect", "randomize.ambient=[0.4,0.2]", "randomize.ambient"),
    ],
)
def test_a_slip_is_one_line_that_names_it(program, override, message):
    with pytest.raises(UserError, match=message) as caught:
        getattr(load(program, PROGRAMS[program][1], [override]), "world", None)
    assert "\n" not in str(caught.value)


def test_typed_refuses_what_does_not_fit():
    with pytest.raises(UserError, match="seed=True is of type bool, expected int"):
        typed(CollectConfig, {"seed": True})
    with pytest.raises(UserError, match="out=None is of type NoneType, expected str"):
        typed(CollectConfig, {"out": None})


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_command_line_exits_with_2_and_one_line(program, tmp_path):
    module = PROGRAMS[program][0]
    done = run(module, "sedd=1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown option 'sedd'"), done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


@pytest.mark.parametrize("text", ["put the cube, slowly, down", "the (red) one's lid", "say 'now' [or later]"])
def test_a_text_needs_no_quotes_of_its_own(text):
    config = load("rollout", RolloutConfig, ["robot=fr3", f"robot.instruction={text}"])
    assert config.robot.instruction == text
    assert load("collect", CollectConfig, ["randomize.ambient=[0.2, 0.3]"]).randomize.ambient == (0.2, 0.3)


def test_help_shows_the_options_and_their_defaults():
    done = run("sim.collect", "--help")
    assert done.returncode == 0
    assert "python -m sim.collect" in done.stdout
    shown = yaml.safe_load(done.stdout.partition("defaults:\n")[2])
    assert typed(CollectConfig, shown) == load("collect", CollectConfig, [])


def run(module: str, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *options], cwd=CONF.parent, capture_output=True, text=True, timeout=200
    )
