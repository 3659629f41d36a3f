"""Configuration: the dataclasses are the defaults, every file states differences to them, every slip is one line."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from programs import PROGRAMS

from sim.collect import CollectConfig
from sim.core.command_line import Words
from sim.core.config import BASE, COMMON, CONF, ProgramOptions, group_choices, load
from sim.core.errors import UserError
from sim.core.structured import typed
from sim.randomize.ranges import nominal

GROUPS = {
    "policy": ("train", "pretrain_grounding", "recap"),
    "randomize": (
        "collect", "correct", "pretrain_grounding", "emulator", "evaluate", "recap", "sb3", "evaluate_expert",
        "robustness", "view", "hands_off",
    ),
    "dynamics": ("collect", "correct", "emulator", "evaluate", "evaluate_expert", "view", "hands_off"),
    "split": ("evaluate", "evaluate_expert", "view", "hands_off"),
    "render": ("collect", "correct", "emulator", "evaluate", "replay", "view", "hands_off"),
    "quality": ("collect", "evaluate_expert"),
    "robot": ("parity", "rollout", "calibrate"),
    "server_keys": ("evaluate", "rollout"),
    "planner": ("evaluate", "rollout", "value_map"),
}  # fmt: skip
SIMULATED = (  # take a robot, no connection
    "collect", "correct", "evaluate", "recap", "sb3", "evaluate_expert", "view", "hands_off", "pretrain_grounding",
    "pretrain_eye", "evaluate_eye",
)  # fmt: skip
EXPERIMENTS = {
    "demo": "recap", "images": "recap", "pick_place": "recap", "points": "recap", "smoke": "recap", "reach_ppo": "sb3",
    "recap_matrix": "compare", "representations": "policies_compare", "presets": "policies_compare",
}  # fmt: skip
NEEDED = {  # what a choice cannot know
    ("rollout", "robot", "fr3"): ["robot.instruction=tidy up"],
    ("evaluate", "split", "shapes"): ["randomize.shapes=[cube,bowl]"],
}


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def loaded(program: str, *words: str):
    return load(program, PROGRAMS[program].schema, words)


# ---- files and dataclasses ---------------------------------------------------------------------


def test_no_configuration_file_is_forgotten_here():
    assert {path.stem for path in CONF.glob("*.yaml")} <= set(PROGRAMS)
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == {*GROUPS, "exp", "lane"}
    assert set(choices("exp")) == set(EXPERIMENTS)


@pytest.mark.parametrize("lane", choices("lane"))
def test_a_lane_is_chosen_within_an_experiment(lane):
    stated = yaml.safe_load((CONF / "lane" / f"{lane}.yaml").read_text())
    found = loaded("compare", "+exp=recap_matrix", f"lane={lane}")
    assert found.pretrain.steps == stated["pretrain"]["steps"]
    assert found.needs_images == (lane == "pixels")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_defaults_of_a_program_are_its_dataclass(program):
    assert loaded(program) == PROGRAMS[program].schema()


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_a_file_states_differences_alone(path):
    stated = yaml.safe_load(path.read_text())
    defaults = stated.pop("defaults", [])
    if path.parent == CONF:
        assert not stated, "a program's defaults are its dataclass'; its file chooses groups"
    elif BASE in defaults:
        group = path.parent.name
        base = dataclasses.asdict(type(getattr(loaded(GROUPS[group][0]), group))())
        assert list(repeated(stated, base)) == []


def repeated(stated: dict, defaults: dict):
    """The keys under which `stated` says what the defaults say."""
    for name, value in stated.items():
        if isinstance(value, dict) and defaults.get(name):
            yield from repeated(value, defaults[name])
        elif value == (list(default) if isinstance(default := defaults.get(name), tuple) else default):
            yield name


@pytest.mark.parametrize(
    ("program", "group", "choice"),
    [(users[0], group, choice) for group, users in GROUPS.items() for choice in choices(group)]
    + [(program, group, choices(group)[-1]) for group, users in GROUPS.items() for program in users[1:]],
)
def test_every_choice_composes_and_every_program_takes_one(program, group, choice):
    loaded(program, f"{group}={choice}", *NEEDED.get((program, group, choice), []))


def test_a_choice_means_the_same_in_every_program():
    assert loaded("view", "render=fast").render == loaded("collect").render
    assert loaded("collect", "randomize=none").randomize == nominal()


@pytest.mark.parametrize("program", SIMULATED)
def test_a_robot_and_its_rate_are_lines_of_the_command(program):
    robot = loaded(program, "robot=franka", "robot.control_hz=50").robot.load()
    assert (robot.joints, robot.control_period_s) == (7, 0.02)


@pytest.mark.parametrize(
    ("words", "line"),
    {
        "robot=emulator": "robot=emulator is not for this program, which has no option robot.start",
        "robot.control_hz=126": "robot.control_hz=126: expected 1 to 125 of fairino_fr3",
        "robot.name=fairino_fr4": "unknown robot 'fairino_fr4'.*did you mean 'fairino_fr3'",
    }.items(),
)
def test_what_is_no_simulated_robot_is_refused(words, line):
    assert loaded("collect", "robot=fairino_fr3") == loaded("collect")
    with pytest.raises(UserError, match=line):
        loaded("collect", words)


@pytest.mark.parametrize(("choice", "program"), EXPERIMENTS.items())
def test_an_experiment_composes_for_its_program_and_is_refused_by_another(choice, program):
    loaded(program, f"+exp={choice}")
    other = "recap" if program == "sb3" else "sb3"
    with pytest.raises(UserError, match="unknown option|has no option|No match in the defaults list"):
        loaded(other, f"+exp={choice}")


@pytest.mark.parametrize("program", ["compare", "sb3"])
def test_help_offers_the_experiments_that_hydra_composes(program):
    def composes(choice: str) -> bool:
        try:
            loaded(program, f"+exp={choice}")
        except UserError:
            return False
        return True

    offered = group_choices(program, PROGRAMS[program].schema, Words.of([]))["+exp"][1]
    assert offered == [choice for choice in choices("exp") if composes(choice)]


# ---- slips -------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_misspelt_option_is_named_with_the_nearest(program):
    option = dataclasses.fields(PROGRAMS[program].schema)[-1].name
    slip = f"{option[:2]}{option[1:]}"
    with pytest.raises(UserError, match=f"unknown option '{slip}'.*did you mean '{option}'"):
        loaded(program, f"{slip}=1")
    with pytest.raises(UserError, match=f"unknown option '{slip}'"):
        loaded(program, f"+{slip}=1")


@pytest.mark.parametrize(
    ("program", "override", "message"),
    [
        ("train", "policy=smal", "unknown choice for policy 'smal', expected one of .*did you mean 'small'"),
        ("collect", "randomize=lihgt", "unknown choice for randomize .*did you mean 'light'"),
        ("rollout", "robot=fr4", "unknown choice for robot .*did you mean 'fr3'"),
        ("recap", "+exp=pickplace", "unknown choice for exp .*did you mean 'pick_place'"),
        ("train", "optim.setps=3", "unknown option 'optim.setps'.*did you mean 'optim.steps'"),
        ("train", "+optim.setps=3", "unknown option 'optim.setps'.*did you mean 'optim.steps'"),
        ("rollout", "firmware=3.8.5", "unknown option 'firmware'; did you mean 'robot.firmware'"),
        ("train", "optim.steps=many", "optim.steps='many' is of type str, expected int"),
        ("train", "data=A,B", r"data=A,B: .*write data=\[A,B\]"),
        ("train", "out=A,B", "out=A,B: .*write out='\"A,B\"'"),
        ("collect", "episodes=0", "expected at least 1"),
        ("collect", "episodes", "'episodes' is not understood, expected key=value"),
        ("collect", "--episodes=3", "'--episodes=3' is not understood"),
        ("collect", "task=pick_plaice", "unknown task .*did you mean 'pick_place'"),
        ("rollout", "mode=atuo", "unknown mode .*did you mean 'auto'"),
        ("collect", "randomize.ambient=[0.4,0.2]", "randomize.ambient"),
        ("train", "policy.chunk=4", "policy.execute=8, expected 1 to policy.chunk, which is 4"),
        ("collect", "images=maybe", "^images=maybe, expected true or false$"),
        ("collect", "seed==3", r"^seed==3 is not understood \(extraneous input '='\); .*key=value.*seed='\"TEXT\"'$"),
        ("collect", "task=[a", r"^task=\[a is not understood .*expected key=value"),
        ("collect", "hydra.job.chdir=x", "Value 'x' is not a valid bool"),
        ("rollout", "robot.ip=192.168.58.2", "robot.ip=192.168.58.2: emulators are .*robot=fr3 drives an arm"),
        ("calibrate", "robot.ip=http://10.0.0.1", "robot.ip=http://10.0.0.1: emulators are on this machine"),
        ("parity", "robot.ip=fr3.lab", "robot.ip=fr3.lab: emulators are on this machine"),
    ],
)
def test_a_slip_is_one_line_that_names_it(program, override, message):
    with pytest.raises(UserError, match=message) as caught:
        getattr(loaded(program, override), "world", None)
    assert "\n" not in str(caught.value)


def test_typed_refuses_what_does_not_fit():
    with pytest.raises(UserError, match="seed=True is of type bool, expected int"):
        typed(CollectConfig, {"seed": True})
    with pytest.raises(UserError, match="out=None is of type NoneType, expected str"):
        typed(CollectConfig, {"out": None})


# ---- what is typed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "put it, slowly, down",
        "the (red) one's lid",
        "say 'now' [or later]",
        "größer",
        "007",
        "C:\\x y\\",
        "null ",
    ],
)
def test_a_text_needs_no_quotes_of_its_own(text):
    config = loaded("rollout", "robot=fr3", f"robot.instruction={text}")
    assert config.robot.instruction == text


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("checkpoints=[a,b c,[d],ä/ö]", ("a", "b c", "[d]", "ä/ö")),
        ("checkpoints=runs/policy", ("runs/policy",)),
        ("checkpoints=['a,b',\"c\"]", ("a,b", "c")),
        ("checkpoints=[]", None),
    ],
)
def test_a_list_is_written_in_brackets(word, value):
    if value is None:
        with pytest.raises(UserError, match="checkpoints"):
            loaded("robustness", word)
    else:
        assert loaded("robustness", word).checkpoints == value


def test_blanks_in_a_list_of_numbers():
    assert loaded("collect", "randomize.ambient=[0.2, 0.3]").randomize.ambient == (0.2, 0.3)


def test_old_names_of_options_are_understood(caplog):
    assert loaded("collect", "twin=shifted") == loaded("collect", "dynamics=shifted")
    assert caplog.messages == ["renamed option: twin is now dynamics; the old name goes with the next release"]


def run(module: str, *options: str, cwd: Path = CONF.parent) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *options], cwd=cwd, capture_output=True, text=True, timeout=200
    )


def test_help_shows_the_options_and_their_defaults():
    done = run("sim.collect", "--help")
    assert done.returncode == 0
    assert "python -m sim.collect" in done.stdout
    assert "randomize=light" in done.stdout and "bad_light, full, full_shapes, hard, light, none" in done.stdout
    shown = yaml.safe_load(done.stdout.partition("defaults:\n")[2])
    assert typed(ProgramOptions, {name: shown.pop(name) for name in COMMON}) == ProgramOptions()
    assert typed(CollectConfig, shown) == CollectConfig()


def test_cfg_shows_what_would_be_run():
    done = run("policies.train", "--cfg", "job", "optim.steps=7")
    assert done.returncode == 0, done.stderr
    shown = {name: value for name, value in yaml.safe_load(done.stdout).items() if name not in COMMON}
    assert typed(PROGRAMS["train"].schema, shown) == loaded("train", "optim.steps=7")


@pytest.mark.parametrize("flags", [("--cfg", "job"), ("--cfg", "all"), ("--info", "config")])
def test_a_slip_beside_a_flag_of_hydras_is_the_same_line(flags):
    done = run("sim.collect", *flags, "episodes=1e3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: episodes=1000.0 is of type float, expected int\n"


def test_a_sweep_runs_every_job_in_a_place_of_its_own(tmp_path):
    done = run(
        "sim.collect", "--multirun", "seed=0,100", "episodes=1", "workers=1", "randomize=none", f"out={tmp_path}/it's"
    )
    assert done.returncode == 0, done.stderr
    assert {path.parent.parent.name for path in tmp_path.glob("it's/*/meta/info.json")} == {"seed=0", "seed=100"}


def test_a_slip_in_the_last_job_of_a_sweep_is_told_before_the_first(tmp_path):
    done = run("sim.collect", "--multirun", "episodes=1,0", f"out={tmp_path}/d")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "at least 1" in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_user_has_groups_and_presets_of_their_own(tmp_path):
    for name, text in {
        "randomize/dusk.yaml": "defaults:\n  - base\n  - _self_\nambient: [0.1, 0.1]\n",
        "exp/mine.yaml": "# @package _global_\nepisodes: 3\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    config = loaded("collect", "--config-dir", str(tmp_path), "randomize=dusk", "+exp=mine")
    assert (config.episodes, config.randomize.ambient) == (3, (0.1, 0.1))
    with pytest.raises(UserError, match="did you mean 'dusk'"):
        loaded("collect", "--config-dir", str(tmp_path), "randomize=duks")
    with pytest.raises(UserError, match="no such directory"):
        loaded("collect", "--config-dir", str(tmp_path / "none"))
