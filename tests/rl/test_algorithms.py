"""Every registered algorithm labels the same data; each control takes away what its file says."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from fr3 import FR3
from outcome_examples import LIMIT, write_dataset

from policies.core.interface import Policy
from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.heads.bins import BinsConfig
from policies.heads.cvae import CvaeConfig
from policies.heads.diffusion import DiffusionConfig
from policies.heads.fast import FastConfig
from policies.heads.flow import FlowConfig
from policies.heads.regression import RegressionConfig
from policies.models.vla import VlaConfig
from rl.advantage.labels import Labels
from rl.advantage.targets import LabelConfig
from rl.algorithms import oracle_bit
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.algorithms.conrft import ConRft
from rl.algorithms.outcome_bit import OutcomeBit
from rl.data.pool import Interventions
from rl.learning.config import LearningConfig, OnlineConfig
from rl.learning.round import Round
from rl.run.options import RecapConfig
from rl.value.cross_fit import CrossFit
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import read_sidecar

CONTROLS = (
    "advantage_weighted", "all_data", "filtered_imitation", "hg_dagger", "oracle_bit", "outcome_bit",
    "positives_only", "random_bit", "return_conditioned",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(roots):
    """A round whose value is the return with noise."""
    where, datasets = roots["rollouts"], list(roots.values())
    data = Round(1, where.parent, datasets, roots["demos"], LIMIT, LearningConfig(), [where])
    values = data.targets.values + np.random.default_rng(0).normal(0, 0.05, len(data.targets.values))
    data.fit = CrossFit([], data.pool.per_frame(data.pool.seed % 3), values.clip(-1, 0), values, [])
    return data


@pytest.fixture(autouse=True)
def rebuilt_episodes(monkeypatch):
    """These episodes were never simulated; the truth about them: in sight of the end from the middle on."""

    def steps(dataset, workers):
        lengths = [dataset.length(e) for e in range(dataset.num_episodes)]
        return np.concatenate([np.maximum(np.arange(n)[::-1] - n // 2, 0) for n in lengths])

    monkeypatch.setattr(oracle_bit, "expert_steps", steps)


def label(name, data):
    return ALGORITHMS.get(name)().label(data)


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_every_algorithm_labels_every_frame_the_same_way_twice(name, data):
    labels, again = label(name, data), label(name, data)
    n = len(data.pool.owner)
    assert labels.positive.shape == labels.weight.shape == (n,)
    assert labels.positive.dtype == bool
    assert (labels.weight >= 0).all() and labels.weight.any()
    assert (labels.positive == again.positive).all() and (labels.weight == again.weight).all()


def test_episodes_that_a_fault_ended_teach_nothing(data, tmp_path):
    alone = write_dataset(tmp_path / "alone", [(1, 20, True, None), (2, 30, False, None)])
    stopped = write_dataset(tmp_path / "stopped", [(3, 40, False, 25)], fault="safety stop: code 99")
    given = Round(1, tmp_path, [alone, stopped], data.pretrained, LIMIT, LearningConfig(), [alone, stopped])
    outcome_known = [True] * 50 + [False] * 40
    assert given.newest.tolist() == outcome_known
    for interventions in Interventions:
        assert given.pool.value_mask(interventions).tolist() == outcome_known
    given.write_labels(Labels(np.ones(90, bool), np.ones(90, np.float32)), "all_data")
    drawn = [read_sidecar(root, given.labels_name)["weight"] for root in (alone, stopped)]
    assert (np.concatenate(drawn) > 0).tolist() == outcome_known


def test_autonomous_rollouts_are_told_from_corrected_ones_among_given_directories(data, tmp_path):
    """rollouts=[A,B] may hold both; thresholds are those of what the policy did alone."""
    alone = write_dataset(tmp_path / "alone", [(1, 20, True, None), (2, 30, False, None)])
    corrected = write_dataset(tmp_path / "corrected", [(3, 40, True, 25)], source="intervention")
    given = Round(1, tmp_path, [alone, corrected], data.pretrained, LIMIT, LearningConfig(), [alone, corrected])
    assert given.newest.tolist() == [True] * 50 + [False] * 40


def test_the_controls_of_recap_are_registered():
    assert {"recap", *CONTROLS} <= set(ALGORITHMS.names())


def test_only_who_knows_good_from_bad_is_guided():
    config = LearningConfig(guidance=2.5)
    guided = {name for name in ("recap", *CONTROLS) if ALGORITHMS.get(name)().guidance(config) == 2.5}
    assert guided == {"recap", "oracle_bit", "random_bit", "outcome_bit", "return_conditioned"}


def test_all_data_leaves_nothing_out_and_says_nothing(data):
    labels = label("all_data", data)
    assert labels.positive.all() and (labels.weight == 1).all()


def test_filtered_imitation_keeps_the_fastest_successes(data):
    pool, labels = data.pool, label("filtered_imitation", data)
    kept = np.array([labels.weight[pool.rows(e)].any() for e in range(len(pool.length))])
    led_to_it = pool.per_frame(pool.source == "intervention") & ~pool.intervention
    assert (labels.weight == (pool.per_frame(kept) & ~led_to_it)).all()  # whole episodes but for what was corrected
    assert pool.success[kept].all()
    fastest = np.sort(pool.length[pool.success])
    assert kept.sum() == pytest.approx(0.4 * len(fastest), abs=3)
    assert sorted(pool.length[kept]) == fastest[: kept.sum()].tolist()
    assert labels.positive.all()


def test_filtered_imitation_leaves_out_what_led_to_a_correction(tmp_path):
    demos = write_dataset(tmp_path / "demos", [(k, 60, True, None) for k in range(4)], "expert")
    corrected = write_dataset(tmp_path / "corrected", [(500 + k, 50, True, 30) for k in range(4)], "intervention")
    given = Round(1, tmp_path, [demos, corrected], demos, LIMIT, LearningConfig(), [corrected])
    weight = label("filtered_imitation", given).weight.reshape(-1)
    assert not weight[: 4 * 60].any()  # the slower half
    assert weight[4 * 60 :].reshape(4, 50).tolist() == [[0] * 30 + [1] * 20] * 4


def test_positives_only_draws_what_recap_calls_positive(data):
    labels = label("positives_only", data)
    assert ((labels.weight > 0) == label("recap", data).positive).all()
    assert labels.positive.all()


def test_the_random_bit_has_recaps_rates_and_none_of_its_information(data):
    pool, recap, random = data.pool, label("recap", data).positive, label("random_bit", data).positive
    dataset = pool.per_frame(pool.dataset)
    for d in range(len(pool.datasets)):
        assert recap[dataset == d].sum() == random[dataset == d].sum()
    rollouts = data.newest
    failed = ~pool.per_frame(pool.success)
    assert recap[rollouts & failed].mean() < 0.2
    assert random[rollouts & failed].mean() == pytest.approx(random[rollouts].mean(), abs=0.06)


def test_advantage_weights_grow_with_the_advantage_and_are_bounded(data):
    labels = label("advantage_weighted", data)
    free = ~data.pool.forced_positive
    order = np.argsort(labels.advantages[free])
    assert (np.diff(labels.weight[free][order]) >= 0).all()
    assert labels.weight.min() == pytest.approx(np.exp(-2), rel=1e-5)
    assert (labels.weight[data.pool.forced_positive] == labels.weight.max()).all()
    assert labels.weight.max() == pytest.approx(np.exp(2), rel=1e-5)
    assert labels.positive.all()


def test_hg_dagger_imitates_demonstrations_and_interventions_alone(data):
    labels, source = label("hg_dagger", data), data.pool.per_frame(data.pool.source)
    kept = labels.weight > 0
    assert kept[source == "expert"].all()
    assert not kept[source == "policy"].any()
    assert (kept[source == "intervention"] == data.pool.intervention[source == "intervention"]).all()


def test_the_outcome_bit_is_the_episodes_outcome_cut_at_an_intervention(data):
    positive, pool = label("outcome_bit", data).positive, data.pool
    autonomous = ~np.isin(pool.per_frame(pool.source), ["intervention"])
    assert (positive[autonomous] == pool.per_frame(pool.success)[autonomous]).all()
    assert (positive[~autonomous] == pool.intervention[~autonomous]).all()


def test_every_intervention_in_a_success_is_positive_for_the_outcome_bit(data, tmp_path):
    corrected = write_dataset(tmp_path / "corrected", [(1, 9, True, 2)], source="intervention")
    given = Round(1, tmp_path, [corrected], data.pretrained, LIMIT, LearningConfig(), [corrected])
    twice = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0], bool)  # the person let go in between
    given.pool = dataclasses.replace(given.pool, intervention=twice)
    assert label("outcome_bit", given).positive.tolist() == [False] * 2 + [True] * 2 + [False] * 2 + [True] * 3


def test_the_return_bit_is_of_whole_episodes_the_fastest_successes(data):
    positive, pool = label("return_conditioned", data).positive, data.pool
    rollouts = [e for e in range(len(pool.length)) if pool.source[e] == "policy"]
    bits = {e: positive[pool.rows(e)] for e in rollouts}
    assert all(one.all() or not one.any() for one in bits.values())
    chosen = [e for e in rollouts if bits[e].all()]
    assert pool.success[chosen].all()
    assert pool.length[chosen].max() <= min(pool.length[e] for e in rollouts if e not in chosen and pool.success[e])
    assert positive[data.newest].mean() <= 0.4


@pytest.mark.parametrize("convention", ["A", "B"])
def test_the_return_bit_is_positive_for_no_failure_however_few_succeeded(data, tmp_path, convention):
    """A fifth succeeded, two fifths may be positive; quick failures and slow ones."""
    episodes = [(1, 90, True, None), *((2 + k, length, False, None) for k, length in enumerate((5, 10, 85, 100)))]
    own = write_dataset(tmp_path / "own", episodes)
    config = LearningConfig(label=LabelConfig(convention=convention))
    given = Round(1, tmp_path, [own], data.pretrained, LIMIT, config, [own])
    assert label("return_conditioned", given).positive.tolist() == [True] * 90 + [False] * 200


def warnings_of(algorithm: Algorithm, data: Round) -> list[str]:
    data.write_labels(algorithm.label(data), "named", conditioned=algorithm.conditioned)
    return data.read_labels()["warnings"]


def test_who_is_told_no_indicator_is_not_warned_that_it_says_little(data, tmp_path):
    """All frames of one outcome have one label by outcome; conrft marks thus what it imitates."""
    own = write_dataset(tmp_path / "own", [(1, 20, True, None), (2, 30, False, None)])
    given = Round(1, tmp_path, [own], data.pretrained, LIMIT, LearningConfig(), [own])
    told = warnings_of(OutcomeBit(), given)
    assert any(line.startswith("outcome success: 100% of 20 frames are positive") for line in told)
    assert warnings_of(ConRft(), given) == []


# ---- what an algorithm cannot learn with --------------------------------------------------------

FROM_CHUNKS = {"constrained", "dpo", "dsrl", "grpo", "ire_vla", "ppo"}  # as they were decided, and played at once
BY_GROUPS = {"constrained", "grpo", "ire_vla"}  # of episodes of one seed


def policy_on_points(**changes) -> Policy:
    spec = PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)
    return VlaConfig(vision=None, language=None, fusion=TruePointsConfig(width=16), **changes).build(spec)


def refused(name: str, config: LearningConfig, policy: Policy) -> str:
    try:
        ALGORITHMS.get(name)().check(config, policy)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_what_learns_from_chunks_as_decided_takes_no_policy_that_averages_them(name):
    assert refused(name, LearningConfig(), policy_on_points()) == ""
    said = refused(name, LearningConfig(), policy_on_points(ensemble=0.01))
    assert said.startswith("policy.ensemble=0.01: the algorithm learns from chunks") == (name in FROM_CHUNKS)
    assert ALGORITHMS.get(name).plays == (name in FROM_CHUNKS | {"conrft"})


ONE_CHUNK = [
    RegressionConfig(hidden=16, blocks=1),
    CvaeConfig(hidden=16, blocks=1),
    BinsConfig(choice="median", layers=1),
    BinsConfig(temperature=0.0, layers=1),
    FastConfig(temperature=0.0, layers=1),
]


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_what_chooses_among_a_policys_chunks_takes_none_with_one_a_look(name):
    for head in ONE_CHUNK:
        said = refused(name, LearningConfig(), policy_on_points(head=head))
        assert said.startswith(f"policy.head.name={head.name}: one look always has the same chunk") == (
            name in FROM_CHUNKS - {"dsrl"} | {"iql", "cql"}
        )
    assert refused(name, LearningConfig(), policy_on_points(head=BinsConfig(layers=1))) == "" or name == "dsrl"


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_a_group_of_one_episode_is_none(name):
    said = refused(name, LearningConfig(online=OnlineConfig(episodes=3, updates=2)), policy_on_points())
    assert said.startswith("online.episodes=3 online.updates=2: expected at least 4") == (name in BY_GROUPS)


GUIDED = {"oracle_bit", "outcome_bit", "random_bit", "recap", "return_conditioned"}


@pytest.mark.parametrize("name", ALGORITHMS.names())
@pytest.mark.parametrize(
    ("dropout", "options", "message"),
    [
        (0.0, {"guidance": 2.0, "check_episodes": 0}, "policy.indicator_dropout=0: guidance=2 or check_episodes="),
        (0.0, {"guidance": 0.0, "check_episodes": 0}, "policy.indicator_dropout=0: guidance=0 or check_episodes="),
        (0.0, {"guidance": 1.0, "check_episodes": 5}, "policy.indicator_dropout=0: guidance=1 or check_episodes="),
        (0.0, {"guidance": 1.0, "check_episodes": 0}, ""),
        (1.0, {"guidance": 1.0, "check_episodes": 0}, "policy.indicator_dropout=1: no indicator is ever learned"),
        (0.1, {"guidance": 2.0, "check_episodes": 5}, ""),
    ],
)
def test_a_policy_is_not_played_with_an_indicator_that_it_never_saw(name, dropout, options, message):
    said = refused(name, RecapConfig(**options), policy_on_points(indicator_dropout=dropout))
    assert said.startswith(message) if name in GUIDED else said == ""
    assert bool(said) == (bool(message) and name in GUIDED)


def test_a_head_of_chunks_that_join_is_exchanged_for_none():
    for joins in (True, False):
        said = refused("conrft", LearningConfig(), policy_on_points(head=FlowConfig(hidden=16, blocks=1, joins=joins)))
        assert said.startswith("policy.head.joins=true: the consistency head") == joins


def test_noise_is_chosen_of_a_flow_and_a_head_exchanged_of_a_policy_that_has_one():
    diffusion = policy_on_points(head=DiffusionConfig(hidden=16, blocks=1))
    assert "expected policy.head.name=flow" in refused("dsrl", LearningConfig(), diffusion)
    other = SimpleNamespace(config=SimpleNamespace(name="another"))
    assert "has no head to exchange" in refused("conrft", LearningConfig(), other)  # type: ignore[arg-type]
