"""Every registered task goes through a whole run of RECAP, tiny and without images."""

import json

import numpy as np
import pytest

from policies.fusion.grounded_points import TruePointsConfig
from policies.models.vla import VlaConfig
from policies.training.optim import OptimConfig
from rl.data.pool import open_pool
from rl.recap import recap
from rl.run.options import RecapConfig
from rl.value.value_head import ValueConfig
from sim.dataset.reader import read_sidecar
from sim.tasks.base import TASKS

BRIEF = OptimConfig(steps=2, batch=8, warmup_steps=1, threads=1)


# Of the tasks that are one grasp or none, reach: what is theirs alone, collecting and training on them, is swept in
# tests/test_every_task.py.
ALIKE = ("insert_peg", "open_drawer", "press_button", "push", "reach_around", "stack")


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=pytest.mark.slow if task in ALIKE else ()) for task in TASKS.names()]
)
def test_a_task_is_collected_trained_evaluated_corrected_and_improved(task, tmp_path):
    config = RecapConfig(
        task=task, out=str(tmp_path), demo_episodes=2, rollouts=1, interventions=1, evaluation_episodes=1,
        check_episodes=0, videos=0, workers=1, init_fusion=None, pretrain=BRIEF, retrain=BRIEF,
        policy=VlaConfig(vision=None, language=None, fusion=TruePointsConfig()),
        value=ValueConfig(folds=2, hidden=8, batch=16, steps_per_epoch=1, max_epochs=1),
    )  # fmt: skip
    recap(config)
    pool = open_pool([tmp_path / "demos", tmp_path / "round_1" / "rollouts", tmp_path / "round_1" / "interventions"])
    assert set(pool.task) == {task}
    assert {"expert", "policy"} <= set(pool.source)
    reasons = [one for one in pool.datasets[-1].metadata_table().get("intervention/reason", []) if one]
    assert ("intervention" in pool.source) == bool(reasons)
    tag = json.loads((tmp_path / "round_1" / "labels.json").read_text())["tag"]
    labels = [read_sidecar(dataset.root, f"advantages_{tag}") for dataset in pool.datasets]
    assert sum(len(one["advantage"]) for one in labels) == len(pool.owner)
    assert np.isfinite(np.concatenate([one["advantage_continuous"] for one in labels])).all()
    assert len(json.loads((tmp_path / "recap.json").read_text())["rounds"]) == 2
