"""Stages are done once; a run that was killed does only what is missing."""

import pytest

from sim.core.errors import UserError
from sim.run.stages import Stages


def make(place, log):
    def work():
        log.append(place.name)
        place.mkdir(exist_ok=True)

    return work


def run(out, log, *names, config=None):
    stages = Stages(out, config or {"seed": 0, "workers": 2}, may_differ=("workers",))
    for name in names:
        stages.run(name, out / name, make(out / name, log))
    return stages


def test_a_stage_is_done_once(tmp_path):
    log = []
    run(tmp_path, log, "demos", "policy")
    run(tmp_path, log, "demos", "policy", "evaluation")
    assert log == ["demos", "policy", "evaluation"]


def test_a_killed_stage_is_done_again(tmp_path):
    log = []
    run(tmp_path, log, "demos")
    stages = Stages(tmp_path, {"seed": 0, "workers": 1}, ("workers",))
    with pytest.raises(KeyboardInterrupt):
        stages.run("policy", tmp_path / "policy", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    run(tmp_path, log, "demos", "policy")
    assert log == ["demos", "policy"]


def test_a_stage_whose_result_was_removed_is_done_again(tmp_path):
    log = []
    run(tmp_path, log, "demos")
    (tmp_path / "demos").rmdir()
    run(tmp_path, log, "demos")
    assert log == ["demos", "demos"]


def test_another_configuration_is_refused_but_run_knobs_may_change(tmp_path):
    run(tmp_path, [], "demos")
    run(tmp_path, [], "demos", config={"seed": 0, "workers": 7})
    with pytest.raises(UserError, match="begun with seed=0, not 3; name a new out=DIR"):
        run(tmp_path, [], "demos", config={"seed": 3, "workers": 2})
