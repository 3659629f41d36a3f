"""The table of transfer: every cell its own world and folder, what the machine cannot draw a dash."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from learning import SPEC, about, tiny_model

from policies import robustness as transfer
from policies.robustness import RobustnessConfig
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.randomize.ranges import RandomizeConfig


@pytest.fixture
def asked(monkeypatch) -> list:
    """The evaluations that a stub was asked for; Vulkan is there."""
    configs = []

    def evaluate(config, tracker) -> dict:
        configs.append(config)
        return {"success_rate": 0.5, "ci_low": 0.25, "ci_high": 0.75}

    monkeypatch.setattr(transfer, "evaluate", evaluate)
    monkeypatch.setattr(transfer, "check_vulkan", lambda: None)
    monkeypatch.setattr(transfer.checkpoint, "load", lambda _: (tiny_model(), about()))
    transfer.subject.cache_clear()
    yield configs
    transfer.subject.cache_clear()


def test_every_cell_has_a_folder_of_its_own(asked, tmp_path, capsys):
    """Two runs whose policies are in folders of one name, as RECAP writes them."""
    named = ("runs/a/round_1/policy", "runs/b/round_1/policy")
    transfer.main(RobustnessConfig(named, out=str(tmp_path), randomize=RandomizeConfig(servo_gain=(0.9, 1.1))))
    assert len({config.out for config in asked}) == len(asked) == 8
    assert [config.checkpoint for config in asked] == [named[0]] * 4 + [named[1]] * 4
    assert asked[0].out == f"{tmp_path}/a-round_1-policy/opengl_trained"
    assert [config.render.renderer for config in asked[:4]] == ["opengl", "filament"] * 2
    for config, shifted in zip(asked, [False, False, True, True] * 2, strict=True):
        assert config.randomize.servo_gain == ((0.5, 0.65) if shifted else (0.9, 1.1))
        assert config.randomize.object_scale == RandomizeConfig().object_scale
    assert "50.0%" in capsys.readouterr().out


def test_every_cell_is_of_the_policys_robot_and_filament_draws_no_depth(asked, monkeypatch, capsys):
    spec = dataclasses.replace(SPEC, robot="franka", control_hz=50)
    policy = SimpleNamespace(spec=spec, needs=SimpleNamespace(depth=True))
    monkeypatch.setattr(transfer.checkpoint, "load", lambda _: (policy, about()))
    transfer.main(RobustnessConfig())
    assert [(one.robot.name, one.robot.control_hz) for one in asked] == [("franka", 50)] * 2
    assert [(one.render.renderer, one.render.depth) for one in asked] == [("opengl", True)] * 2
    assert "dashes under filament, which draws no depth: runs/policy" in capsys.readouterr().out


def test_a_task_of_several_steps_is_played_by_who_learned_the_steps(asked):
    """As policies.evaluate does."""
    transfer.main(RobustnessConfig(task="place_in_turn"))
    assert [config.task for config in asked] == ["place_in_turn"] * 4
    with pytest.raises(UserError, match="task=push, expected pick_place, which runs/policy was trained on"):
        transfer.main(RobustnessConfig(task="push"))


def test_a_checkpoint_alone_gives_the_folder_its_name():
    assert RobustnessConfig(("runs/policy",)).folders == {"runs/policy": "policy"}


def test_without_vulkan_its_cells_are_dashes(asked, monkeypatch, capsys):
    def missing() -> None:
        raise UserError("renderer=filament needs Vulkan: no libvulkan.so.1")

    monkeypatch.setattr(transfer, "check_vulkan", missing)
    transfer.main(RobustnessConfig())
    said = capsys.readouterr().out
    assert said.count("needs Vulkan") == 1 and "success of 200" in said
    assert [config.render.renderer for config in asked] == ["opengl", "opengl"]


def test_a_wrong_checkpoint_is_told_before_anything_is_played(asked, monkeypatch):
    def load(root: str) -> tuple:
        if root == "b":
            raise UserError("b is no checkpoint")
        return tiny_model(), about()

    monkeypatch.setattr(transfer.checkpoint, "load", load)
    with pytest.raises(UserError, match="b is no checkpoint"):
        transfer.main(RobustnessConfig(("a", "b")))
    assert not asked
    with pytest.raises(UserError, match=r"checkpoints=\[a,./a\], expected each once, ./a is there twice"):
        RobustnessConfig(("a", "./a"))


def test_seeds_that_a_policy_was_trained_on_are_told_before_anything_is_played(asked, monkeypatch):
    trained = {"a": [], "b": [[900_100, 900_200]]}
    monkeypatch.setattr(
        transfer.checkpoint, "load", lambda it: (tiny_model(), about(provenance={"seeds": trained[it]}))
    )
    with pytest.raises(UserError, match=r"seeds 900000 to 900199 share .*\(900100 to 900200\).* seed=900201"):
        transfer.main(RobustnessConfig(("a", "b")))
    assert not asked


def test_cells_of_weights_trained_anew_are_refused_before_anything_is_played(asked, tmp_path):
    policy = tmp_path / "policy"
    policy.mkdir()
    config = RobustnessConfig((str(policy),), out=str(tmp_path / "out"))
    last = transfer.condition(config, str(policy), "filament", "shifted")
    last.directory.mkdir(parents=True)
    played = {"config": plain(last), "weights_sha256": "a" * 64, "success_rate": 0.5, "ci_low": 0.25, "ci_high": 0.75}
    (last.directory / "results.json").write_text(json.dumps(played))
    (policy / "config.json").write_text(json.dumps({"weights_sha256": "b" * 64}))
    with pytest.raises(UserError, match=r"filament_shifted holds .* of other weights, a{12}, expected b{12}"):
        transfer.main(config)
    assert not asked
    (policy / "config.json").write_text(json.dumps({"weights_sha256": "a" * 64}))
    transfer.main(config)
    assert len(asked) == 3
