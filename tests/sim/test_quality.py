"""Quality of demonstrations: what goes wrong is drawn as asked, shown, flagged and recovered from."""

from dataclasses import replace

import numpy as np
import pytest
from playing import play_expert

from sim.collect import CollectConfig
from sim.core.config import CONF, load
from sim.core.errors import UserError
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import run_episode
from sim.expert.imperfections import CLEAN, KINDS, Imperfections, QualityConfig
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded

SEED = 720_010
FLAGGED = {
    "perturbation": "perturbed", "near_miss": "perturbed", "noise": "perturbed", "failed_grasp": "failed_grasp",
    "hesitation": "hesitating",
}  # fmt: skip


@pytest.fixture(scope="module")
def env():
    built = SimEnv()
    yield built
    built.close()


class Flags:
    """Keeps what the expert says of its steps; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self):
        self.rows: list[dict[str, bool]] = []

    def add(self, step) -> None:
        self.rows.append(step.flags)

    def count(self, name: str) -> int:
        return sum(row[name] for row in self.rows)


@pytest.mark.parametrize("kind", KINDS)
def test_an_imperfection_is_shown_flagged_and_made_good(env, kind):
    shown = 0
    for seed in range(SEED, SEED + 4):
        flags = Flags()
        quality = replace(CLEAN, speed=(0.8, 0.9), **{f"{kind}_prob": 1.0})
        result = play_expert(env, seed, flags, quality=quality)
        shown += flags.count(FLAGGED[kind]) > 0
        for other in {"perturbed", "hesitating", "failed_grasp"} - {FLAGGED[kind]}:
            assert flags.count(other) == 0, other
        assert result.success and not flags.rows[-1][FLAGGED[kind]]
    assert shown >= 3


def test_imperfections_on_record_are_those_that_happened():
    """All of these are due, and recorded is what frames are flagged with: reach_around grasps nothing."""
    quality = QualityConfig(
        speed=(0.8, 0.9),
        perturbation_prob=0.0,
        near_miss_prob=0.0,
        noise_prob=1.0,
        failed_grasp_prob=1.0,
        hesitation_prob=1.0,
    )
    env = SimEnv(SimulationConfig(task="reach_around"))
    recorded = set()
    for seed in range(SEED, SEED + 4):
        flags, expert = Flags(), Expert(env, quality)
        assert run_episode(env, expert, guarded(env.robot), seed, flags).success
        shown = [kind for kind in ("failed_grasp", "hesitation", "noise") if flags.count(FLAGGED[kind])]
        assert expert.metadata()["expert/imperfections"] == ",".join(shown)
        recorded |= set(shown)
    assert recorded == {"hesitation", "noise"}


def test_a_failed_grasp_is_tried_again(env):
    flags = Flags()
    play_expert(env, SEED, flags, quality=replace(CLEAN, failed_grasp_prob=1.0))
    last_failed = max(i for i, row in enumerate(flags.rows) if row["failed_grasp"])
    first_retry = min(i for i, row in enumerate(flags.rows) if row["retrying"])
    assert first_retry == last_failed + 1 and not flags.rows[-1]["retrying"]


def test_a_grasp_that_a_near_miss_comes_before_fails_all_the_same(env):
    """No frame that holds the object is flagged as a grasp that fails; on record is one that closed on nothing."""

    class Held(Flags):
        def add(self, step) -> None:
            held = env.world.scene_state.is_held(0) and env.world.scene_state.opening < 0.9
            super().add(replace(step, flags={**step.flags, "held": held}))

    quality = replace(CLEAN, speed=(0.8, 0.9), near_miss_prob=1.0, failed_grasp_prob=1.0)
    for seed in range(SEED, SEED + 4):
        flags, expert = Held(), Expert(env, quality)
        assert run_episode(env, expert, guarded(env.robot), seed, flags).success
        assert not any(row["held"] and row["failed_grasp"] and not row["perturbed"] for row in flags.rows)
        assert expert.metadata()["expert/imperfections"] == "near_miss,failed_grasp"
        assert flags.count("retrying")  # so that one failed


def test_a_pause_stands_still(env):
    class Speeds(Flags):
        def add(self, step) -> None:
            super().add(replace(step, flags={**step.flags, "sent": step.executed}))

    flags = Speeds()
    play_expert(env, SEED, flags, quality=replace(CLEAN, hesitation_prob=1.0))
    sent = np.array([row["sent"] for row in flags.rows])
    paused = np.array([row["hesitating"] for row in flags.rows])
    last = [i for i in range(1, len(paused) - 1) if paused[i] and not paused[i + 1]]
    assert last
    for i in last:
        assert np.abs(sent[i] - sent[i - 1]).max() < 1e-4  # at rest before it goes on


def due(drawn: Imperfections) -> set[str]:
    """By name, what is still to go wrong."""
    left = {"perturbation": drawn.perturbed_waypoint, "near_miss": drawn.near_misses, "noise": drawn.noise_ticks,
            "failed_grasp": drawn.failed_grasps, "hesitation": drawn.pause_ticks}  # fmt: skip
    return {name for name, value in left.items() if value}


def test_clean_shows_nothing_and_shares_are_kept():
    rng = np.random.default_rng(0)
    assert all(not due(CLEAN.draw(rng)) for _ in range(200))
    mixed = load("collect", CollectConfig, ["quality=mixed"]).quality
    drawn = [due(mixed.draw(rng)) for _ in range(2000)]
    for kind in KINDS:
        share = np.mean([kind in shown for shown in drawn])
        assert share == pytest.approx(mixed.probability(kind), abs=0.04)


def test_worse_groups_take_longer(env):
    times = {}
    for name in sorted(path.stem for path in (CONF / "quality").glob("*.yaml")):
        quality = load("collect", CollectConfig, [f"quality={name}"]).quality
        times[name] = np.mean([play_expert(env, seed, quality=quality).time_s for seed in range(SEED, SEED + 5)])
    assert times["clean"] < times["mixed"] < times["sloppy"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perturbation_prob": 2.0}, "perturbation_prob=2, expected from 0 to 1"),
        ({"speed": (0.9, 0.5)}, r"speed=\[0.9,0.5\], expected \[low, high\]"),
        ({"detour_m": 1.0}, "detour_m=1, expected from 0 to 0.1"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        QualityConfig(**changes)
