"""The matrix: its cells, its tests against scipy, and a tiny one through the program."""

import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import permutation_test

from policies.fusion.grounded_points import TruePointsConfig
from policies.models.vla import VlaConfig
from policies.training.optim import OptimConfig
from rl.compare.cells import Cell, parse_cell, parse_cells
from rl.compare.compare import CompareConfig, main
from rl.compare.figure import draw_matrix
from rl.compare.matrix import correct_for_many, episodes_until, permutation_p, success_p
from rl.run.offline_run import OfflineRun
from rl.run.paired import mcnemar
from rl.value.value_head import ValueConfig
from sim.core.errors import UserError
from sim.episode.results import summary, summary_of_seeds

BRIEF = OptimConfig(steps=2, batch=8, warmup_steps=1, threads=1)


def config(out, **options) -> CompareConfig:
    return CompareConfig(
        task="reach", out=str(out), demo_episodes=3, rollouts=3, interventions=0, evaluation_episodes=2,
        check_episodes=0, videos=0, workers=1, init_fusion=None, pretrain=BRIEF, retrain=BRIEF,
        policy=VlaConfig(vision=None, language=None, fusion=TruePointsConfig()),
        value=ValueConfig(folds=2, hidden=8, batch=16, steps_per_epoch=1, max_epochs=1),
        **{"cells": ("imitation", "all_data", "recap@1", "recap@3"), "train_seeds": (0, 1)} | options,
    )  # fmt: skip


def test_a_cell_is_an_algorithm_and_its_guidance():
    assert parse_cell("imitation", 2.0) == Cell("imitation", "imitation")
    assert parse_cell("recap", 2.0) == Cell("recap", "recap", 2.0)
    assert parse_cell("random_bit@0", 2.0) == Cell("random_bit@0", "random_bit", 0.0)
    assert parse_cell("all_data", 2.0) == Cell("all_data", "all_data", 1.0)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (("recapp",), "unknown algorithm 'recapp'.*did you mean 'recap'"),
        (("all_data@2",), "all_data@2, expected all_data"),
        (("recap@",), "recap@, expected a guidance"),
        (("recap@-1",), "recap@-1, expected a guidance"),
        (("recap@nan",), "recap@nan, expected a guidance"),
        (("recap@2", "recap"), "recap is recap@2"),
    ],
)
def test_a_cell_that_cannot_be_is_one_line(cells, message):
    with pytest.raises(UserError, match=message):
        parse_cells(cells, 2.0)


def test_a_matrix_that_cannot_be_is_one_line(tmp_path):
    for name, value in (("rounds", 3), ("algorithm", "iql")):
        with pytest.raises(UserError, match=rf"{name}={value}: cells= says what is compared"):
            config(tmp_path, **{name: value})
    with pytest.raises(UserError, match=r"reference 'recap@2'.*did you mean 'recap@"):
        config(tmp_path, reference="recap@2")
    with pytest.raises(UserError, match=r"train_seeds=\[1,1\]"):
        config(tmp_path, train_seeds=(1, 1))


def test_the_permutation_of_pairs_is_scipys():
    rng = np.random.default_rng(3)
    a = (rng.random((1, 12)) < 0.4, rng.uniform(4, 15, (1, 12)))
    b = (rng.random((1, 12)) < 0.9, rng.uniform(4, 9, (1, 12)))
    index = np.arange(12)
    success, time_s = (np.concatenate([x[0], y[0]]) for x, y in zip(a, b, strict=True))

    def difference(i, j):
        i, j = i.astype(int), j.astype(int)
        return success[i].sum() / time_s[i].sum() - success[j].sum() / time_s[j].sum()

    exact = permutation_test(
        (index, index + 12), difference, permutation_type="samples", n_resamples=10_000, vectorized=False
    )
    assert 0.001 < exact.pvalue < 0.2
    assert permutation_p(a, b) == pytest.approx(exact.pvalue, abs=0.012)
    assert permutation_p(a, a) == 1.0


# ---- several training seeds ----------------------------------------------------------------------


def layouts(success: np.ndarray) -> list[list[dict]]:
    """Episodes of training seeds (S, n), each in an order of its own."""
    rng = np.random.default_rng(len(success))
    return [
        [{"seed": 900_000 + int(i), "success": bool(one[i]), "time_s": 4.0 + i % 5} for i in rng.permutation(len(one))]
        for one in success
    ]


def test_the_test_of_several_training_seeds_is_scipys_of_pairs_of_layouts():
    rng = np.random.default_rng(1)
    a, b = rng.random((3, 11)) < 0.45, rng.random((3, 11)) < 0.75
    exact = permutation_test(
        (a.mean(0), b.mean(0)), lambda x, y, axis: (x - y).sum(axis), permutation_type="samples", n_resamples=10_000,
        vectorized=True,
    )  # fmt: skip
    assert 0.005 < exact.pvalue < 0.3
    assert success_p(a, b) == pytest.approx(exact.pvalue, abs=0.012)
    assert success_p(a, a) == 1.0
    assert success_p(a[:1], b[:1]) == mcnemar(int((a[0] & ~b[0]).sum()), int((b[0] & ~a[0]).sum()))


def test_one_evaluation_beside_three_is_rejected_as_seldom_as_is_promised():
    """Imitation is the same episodes for every training seed, and in truth as good as the others."""
    rng = np.random.default_rng(0)
    found = [success_p(np.repeat(rng.random((1, 60)) < 0.65, 3, 0), rng.random((3, 60)) < 0.65) for _ in range(200)]
    assert np.mean(np.array(found) < 0.05) < 0.09  # 5 %, and two standard errors of 200


def test_the_interval_of_several_training_seeds_holds_the_truth_as_often_as_is_promised():
    """Half of the variance is between layouts; the mean chance of a success is 60 %."""
    rng, held, pooled = np.random.default_rng(2), 0, 0
    for _ in range(200):
        runs = layouts(rng.random((3, 100)) < rng.beta(0.75, 0.5, 100))
        found, as_if_independent = summary_of_seeds(runs), summary([one for run in runs for one in run])
        held += found["ci_low"] <= 0.6 <= found["ci_high"]
        pooled += as_if_independent["ci_low"] <= 0.6 <= as_if_independent["ci_high"]
        assert found["throughput_ci_low"] < found["throughput_per_hour"] < found["throughput_ci_high"]
    assert held >= 181 > pooled  # of 200: 95 % less three standard errors


def test_one_training_seed_is_summed_up_as_before_and_rates_at_the_ends_keep_an_interval():
    (run,) = layouts(np.random.default_rng(2).random((1, 30)) < 0.5)
    assert summary_of_seeds([run]) == summary(run)
    won = layouts(np.ones((1, 30), bool))[0]
    found = summary_of_seeds([won, won])
    assert (found["n"], found["ci_low"], found["ci_high"]) == (60, summary(won)["ci_low"], 1.0)


@pytest.mark.parametrize("runs", [1, 2])
def test_successes_an_hour_at_the_ends_keep_an_interval(runs):
    """None or all of 20 layouts: by Wilson 16.1 % of the 180 episodes that fit into an hour may end otherwise."""
    none, every = (summary_of_seeds([rows] * runs) for rows in (ended(20, success=False), ended(20, success=True)))
    found = [one[f"throughput_ci_{end}"] for one in (none, every) for end in ("low", "high")]
    assert found == pytest.approx([0, 0.161125 * 180, 0.838875 * 180, 180], rel=1e-5)


def test_the_bootstraps_bound_stays_where_it_is_further_out():
    """Times differ much more than one failure in 300 would: few slow episodes take most of the time."""
    rows = [{"seed": i, "success": True, "time_s": 900.0 if i < 2 else 1.0} for i in range(300)]
    assert summary(rows)["throughput_ci_low"] < 0.7 * 300 / (2098 / 3600)


def ended(n: int, *, success: bool) -> list[dict]:
    """Episodes of 20 s."""
    return [{"seed": seed, "success": success, "time_s": 20.0} for seed in range(n)]


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests():
    rows = [{"p_success": 0.01, "p_throughput": 0.04}, {"p_success": 0.03}, {}]
    correct_for_many(rows)
    assert rows[0]["p_success_holm"] == pytest.approx(0.03)
    assert rows[1]["p_success_holm"] == rows[0]["p_throughput_holm"] == pytest.approx(0.06)
    assert rows[2] == {}


def test_the_episodes_to_a_success_are_counted_until_it_is_there_to_stay():
    """Given 10, and 20 an update; the last point is the evaluation."""
    quick = {"episodes": 50, "successes": 9, "n": 10, "curve": [(10, 0.2), (30, 0.8)]}
    slow = {"episodes": 50, "successes": 9, "n": 10, "curve": [(10, 0.2), (30, 0.4)]}
    offline = {"episodes": 40, "successes": 8, "n": 10, "curve": []}
    assert episodes_until({"by_train_seed": {"0": quick}}, 0.8) == 30
    assert episodes_until({"by_train_seed": {"0": quick, "1": slow, "2": offline}}, 0.8) == (30 + 50 + 40) / 3
    assert episodes_until({"by_train_seed": {"0": quick, "1": offline}}, 0.85) is None
    assert episodes_until({"by_train_seed": {"0": quick}}, None) is None
    lucky = {"episodes": 50, "successes": 4, "n": 10, "curve": [(10, 0.8), (20, 0.3), (30, 0.9), (40, 0.5)]}
    assert episodes_until({"by_train_seed": {"0": lucky}}, 0.8) is None
    assert episodes_until({"by_train_seed": {"0": lucky | {"successes": 8}}}, 0.8) == 50
    assert episodes_until({"by_train_seed": {"0": lucky | {"successes": 8}}}, 0.45) == 30
    assert episodes_until({"by_train_seed": {"0": lucky}}, 0.3) == 10


def test_a_matrix_is_made_shown_and_gone_on_with(tmp_path):
    main(config(tmp_path))
    rows = {row["name"]: row for row in json.loads((tmp_path / "matrix.json").read_text())["cells"]}
    assert list(rows) == ["imitation", "all_data", "recap@1", "recap@3"]
    for row in rows.values():
        seeds = ["0"] if row["name"] == "imitation" else ["0", "1"]  # it is one evaluation, whatever the training seed
        assert list(row["by_train_seed"]) == seeds
        assert row["n"] == 2 * len(seeds) and all(
            one["n"] == 2 and one["time_s"] > 0 for one in row["by_train_seed"].values()
        )
    assert "p_success_holm" in rows["all_data"] and "p_success" not in rows["recap@3"]
    assert rows["all_data"]["by_train_seed"]["0"]["minutes"] > 0 == rows["imitation"]["by_train_seed"]["0"]["minutes"]
    assert [row["by_train_seed"]["0"]["episodes"] for row in rows.values()] == [
        0,
        6,
        6,
        6,
    ]  # 3 demonstrations, 3 rollouts
    table = (tmp_path / "matrix.md").read_text().splitlines()
    assert [row.split(" | ")[9] for row in table[2:6]] == ["0", "6", "6", "6"]  # episodes
    assert len(table) == 2 + 4 + 1 and "reference" in table[5] and "clean expert" in table[-1]
    assert imread(tmp_path / "matrix.png").shape[1] > 800

    policies = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/seed_*/policy/model.safetensors")}
    assert len(policies) == 4
    weights = {path: path.read_bytes() for path in policies}
    assert len(set(weights.values())) == 4  # another seed or algorithm is another policy
    for guidance in (1.0, 3.0):
        for path in tmp_path.glob(f"cells/recap/seed_*/evaluation_{guidance:g}/results.json"):
            assert json.loads(path.read_text())["config"]["guidance"] == guidance
    main(config(tmp_path, cells=("imitation", "all_data", "recap@1", "recap@3", "recap@0")))
    again = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/seed_*/policy/model.safetensors")}
    assert again == policies
    assert len(json.loads((tmp_path / "matrix.json").read_text())["cells"]) == 5


def test_a_cell_is_refused_for_its_own_guidance_before_anything_is_written(tmp_path):
    """Whatever guidance= is, which only a cell without one of its own is played with."""
    policy = VlaConfig(vision=None, language=None, fusion=TruePointsConfig(), indicator_dropout=0.0)
    with pytest.raises(UserError, match="policy.indicator_dropout=0: guidance=3"):
        main(replace(config(tmp_path), policy=policy, guidance=1.0))
    assert not (tmp_path / "start").exists()
    unguided = replace(config(tmp_path, cells=("recap@1",), reference="recap@1"), policy=policy, check_episodes=1)
    OfflineRun(unguided.start, learners=unguided.learners)
    assert (tmp_path / "start" / "config.json").is_file()


def test_imitation_alone_is_a_matrix(tmp_path):
    main(config(tmp_path, cells=("imitation",), reference="imitation"))
    assert [row["name"] for row in json.loads((tmp_path / "matrix.json").read_text())["cells"]] == ["imitation"]


def test_videos_of_the_start_and_of_a_cell_are_recorded(tmp_path):
    main(replace(config(tmp_path, cells=("all_data",), reference="all_data", train_seeds=(0,)), videos=1))
    videos = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("episode-*.mp4")}
    assert videos == {"start", "cells"}


def test_a_matrix_of_other_data_is_refused(tmp_path):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "config.json").write_text(json.dumps({"rollouts": 7}))
    with pytest.raises(UserError, match="was begun with"):
        main(config(tmp_path))


@pytest.mark.parametrize("successes", [0, 60])
def test_rates_at_the_ends_are_drawn(tmp_path, successes):
    played = summary([{"success": i < successes, "time_s": 5.0} for i in range(60)])
    seeds = {"0": {"n": 60, "successes": successes, "time_s": 300.0}}
    draw_matrix(tmp_path / "matrix.png", [{"name": "recap", **played, "by_train_seed": seeds}], played)
    assert imread(tmp_path / "matrix.png").std() > 0.05
