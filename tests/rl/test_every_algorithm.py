"""Every registered algorithm goes through a cell of the matrix, tiny: labels, improves, is evaluated; twice is once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.training.optim import OptimConfig
from rl.algorithms.base import ALGORITHMS
from rl.compare.cells import parse_cell, run_cell
from rl.data.pool import open_pool
from rl.learning.chunks import Chunks
from rl.learning.config import OnlineConfig
from rl.run.offline_run import OfflineRun
from rl.run.options import RecapConfig
from rl.value.value_head import ValueConfig

BRIEF = OptimConfig(steps=2, batch=8, warmup_steps=1, threads=1)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> OfflineRun:
    """Demonstrations, rollouts and an intervention that all cells share."""
    run = OfflineRun(RecapConfig(
        task="reach", out=str(tmp_path_factory.mktemp("matrix") / "start"), demo_episodes=3, rollouts=3,
        interventions=1, evaluation_episodes=1, check_episodes=0, videos=0, workers=1, init_fusion=None,
        pretrain=BRIEF, retrain=BRIEF,
        policy=VlaConfig(vision=None, language=None, fusion=TruePointsConfig()),
        online=OnlineConfig(episodes=4, unlimited=4, updates=2),
        value=ValueConfig(folds=2, hidden=8, batch=16, steps_per_epoch=1, max_epochs=1),
    ))  # fmt: skip
    run.collect_demonstrations()
    run.imitate()
    policy, metadata = checkpoint.load(run.config.pretrained_root)  # as if it knew another task besides
    checkpoint.save(run.config.pretrained_root, policy, replace(metadata, tasks=("reach", "stack")))
    run.evaluate(0)
    run.evaluate_expert()
    run.collect(1)
    return run


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_a_cell_is_played_once(start, name):
    root, cell = start.config.root.parent, parse_cell(name, 2.0)
    run_cell(start, root, cell, 0)
    folder, results = cell.folder(root, 0), cell.evaluation(root, 0) / "results.json"
    content = json.loads(results.read_text())
    assert content["n"] == 1 and content["config"]["guidance"] == cell.guidance
    labels = json.loads((folder / "labels.json").read_text())
    assert labels["algorithm"] == name
    assert ALGORITHMS.get(name).conditioned or labels["warnings"] == []
    _, metadata = checkpoint.load(folder / "policy")
    assert metadata.tasks == ("reach", "stack")
    before = written(folder)
    run_cell(start, root, cell, 0)
    assert written(folder) == before


def test_every_update_plays_seeds_of_its_own_a_group_of_each(start):
    root, cell = start.config.root.parent, parse_cell("grpo", 2.0)
    run_cell(start, root, cell, 0)
    first = start.config.online.seed
    for k in range(2):
        folder = cell.folder(root, 0) / f"update_{k}"
        assert [open_pool([folder / f"rollouts_{draw}"]).seed.tolist() for draw in range(2)] == [[first + k]] * 2


def test_of_a_chunk_what_was_played_is_learned_from(start):
    data, (policy, _) = start.round(1), checkpoint.load(start.config.pretrained_root)
    execute = policy.config.execute
    chunks = Chunks(data, policy)
    assert data.pool.frame[chunks.decided].tolist() == [t for n in data.pool.length for t in range(0, n, execute)]
    batch = chunks.batch(chunks.decided[::-1].copy())
    assert batch.valid[:, :execute].any() and not batch.valid[:, execute:].any()
    state = data.pool.datasets[0].columns(0, ["observation.state"])["observation.state"][0]
    assert batch.inputs.state[-1].tolist() == pytest.approx(state.tolist())


def written(folder: Path) -> dict[Path, int]:
    """Every file but the clock's, and when it was written."""
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "minutes.json"
    }
