"""A round on episodes that another program recorded, as `real.rollout` writes them: no world in their provenance."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from fr3 import FR3

from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import VlaConfig
from policies.training.optim import OptimConfig
from rl.data.interventions import TriggerConfig
from rl.data.pool import open_pool
from rl.data.rollouts import Behaviour, record_interventions, record_rollouts
from rl.recap import recap
from rl.run.options import RecapConfig
from rl.run.recorded import check_recorded, longest_limits
from rl.value.value_head import ValueConfig
from sim.collect import CollectConfig, collect
from sim.core.contract import CONTRACT_VERSION, GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, DatasetWriter, Episode, read_sidecar
from sim.envs.simulation import SimulationConfig
from sim.parallel.workers import WorkerConfig

ALONE, EVALUATED = WorkerConfig(workers=1), range(900000, 900002)
POINTS = VlaConfig(vision=None, language=None, fusion=TruePointsConfig())
BRIEF = OptimConfig(steps=2, batch=8, warmup_steps=1, threads=1)


def save_policy(out: Path, task: str = "reach", **provenance) -> Path:
    """A policy on true points with random weights."""
    policy = POINTS.build(PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS))
    checkpoint.save(out, policy, CheckpointMetadata("", "", (task,), provenance))
    return out


@dataclass
class Recording:
    """Episodes to write as a robot's program would, with an operator's verdicts."""

    played: list[Path]
    policy: Path
    says: dict = field(default_factory=dict)  # provenance besides
    robot: str = FR3.name

    def write(self, out: Path, success=(True, False, True), truth: bool = True, **metadata) -> str:
        provenance = {"checkpoint": str(self.policy), "task": "reach", "contract": CONTRACT_VERSION, **self.says}
        sources = [(Dataset(root), e) for root in self.played for e in range(Dataset(root).num_episodes)]
        schema = sources[0][0].features
        with DatasetWriter(out, schema, FR3.control_hz, self.robot, provenance) as writer:
            for (dataset, e), key in zip(sources, success, strict=False):
                columns = dataset.columns(e)
                for name in () if truth else GROUNDING_COLUMNS:
                    columns[name] = np.full_like(columns[name], np.nan)
                recorded = dataset.episode_metadata(e)
                about = {"seed": recorded["seed"], "source": recorded["source"].replace("expert", "policy")}
                writer.commit(Episode(columns, "reach the red plate", {}, {**about, "success": key, **metadata}))
        return str(out)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Recording:
    """Two episodes that pass for a policy's, and one with an intervention."""
    folder, world = tmp_path_factory.mktemp("robot"), SimulationConfig("reach")
    policy = save_policy(folder / "policy")
    behaviour = Behaviour(str(policy))
    good = CollectConfig(task="reach", episodes=2, seed=500000, out=str(folder / "good"), workers=1, images=False)
    record_rollouts(folder / "bad", world, behaviour, [500002], ALONE)
    record_interventions(folder / "helped", world, behaviour, folder / "bad", 1, ALONE, TriggerConfig())
    return Recording([collect(good), folder / "helped"], policy)


def check(root: str, policy: Path) -> list[str]:
    return check_recorded([root], "reach", policy, EVALUATED)


def test_a_round_learns_from_them_alone(recording, tmp_path):
    root = recording.write(tmp_path / "robot")
    demos = collect(CollectConfig(task="reach", episodes=2, out=str(tmp_path / "demos"), workers=1, images=False))
    config = RecapConfig(
        task="reach", rollouts=(root,), demos=str(demos), pretrained=str(recording.policy), out=str(tmp_path / "out"),
        demo_episodes=2, evaluation_episodes=1, check_episodes=0, videos=0, workers=1, init_fusion=None, retrain=BRIEF,
        policy=POINTS, value=ValueConfig(folds=2, hidden=8, batch=16, steps_per_epoch=1, max_epochs=1),
    )  # fmt: skip
    recap(config)
    made = json.loads((tmp_path / "out" / "round_1" / "labels.json").read_text())
    assert set(made["data"]) == {root, str(demos)}
    assert not (tmp_path / "out" / "round_1" / "rollouts").exists()
    pool = open_pool([demos, root])
    assert set(pool.task) == {"reach"}
    labels = read_sidecar(Path(root), f"advantages_{made['tag']}")
    flags = open_pool([root]).intervention
    assert flags.any() and labels["advantage"][flags].all()  # the person's frames of an episode called a success
    alone = labels["advantage"][open_pool([root]).per_frame(open_pool([root]).source) == "policy"]
    assert 0 < alone.mean() <= 0.4
    assert len(json.loads((tmp_path / "out" / "recap.json").read_text())["rounds"]) == 2


def test_the_policy_that_acted_must_be_named(recording, tmp_path):
    root = recording.write(tmp_path / "robot")
    config = RecapConfig(task="reach", rollouts=(root,), out=str(tmp_path / "out"), policy=POINTS)
    with pytest.raises(UserError, match=r"without the policy that acted in them; give pretrained=DIR"):
        recap(config)
    assert not (tmp_path / "out").exists()


def test_what_fits_is_taken_and_what_it_does_not_say_is_a_warning(recording, tmp_path):
    assert check(recording.write(tmp_path / "good"), recording.policy) == []
    silent = Recording(recording.played, recording.policy, {"checkpoint": None, "task": ""})
    lines = check(silent.write(tmp_path / "silent"), recording.policy)
    assert [line.split("does not say")[1] for line in lines] == [
        " its task, taken as reach", f" which policy acted, taken as {recording.policy}",
    ]  # fmt: skip


def test_those_of_a_later_round_and_of_a_copied_checkpoint_are_its_own(recording, tmp_path):
    later = save_policy(tmp_path / "later", init=str(recording.policy))
    copied = tmp_path / "copied"
    copied.mkdir()
    for path in recording.policy.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    updated = save_policy(tmp_path / "updated", init=str(later))  # as by an algorithm that plays between updates
    for name, policy in (("a", later), ("b", copied), ("c", updated)):
        assert check(Recording(recording.played, policy).write(tmp_path / name), recording.policy) == []


def test_rollouts_of_a_run_that_was_moved_are_its_policys_by_their_weights(recording, tmp_path):
    behaviour = {**Behaviour(str(recording.policy)).provenance["behaviour"]}
    moved = Recording(recording.played, tmp_path / "no more", {"behaviour": behaviour})
    assert check(moved.write(tmp_path / "robot"), recording.policy) == []


@pytest.mark.parametrize(
    ("says", "how", "message"),
    [
        ({"task": "stack"}, {}, "is of task 'stack', expected 'reach'"),
        ({"contract": 0}, {}, f"has contract version 0, expected {CONTRACT_VERSION}"),
        ({"checkpoint": "runs/other"}, {}, "holds those of runs/other, expected those of the policy "),
        ({"weights_sha256": "0" * 64}, {}, "holds those of other weights than .*policy has now, expected those of"),
        ({}, {"seed": 900001}, "holds seed 900001, which is evaluated on; change evaluation_seed"),
        ({}, {"success": (False, False, False)}, "none of the 3 episodes succeeded"),
        ({}, {"source": "intervention"}, "all 3 episodes are of intervention, expected some of the policy alone"),
        ({}, {"truth": False}, "has no ground truth"),
        ({}, {"success": ()}, "has no episodes"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(recording, tmp_path, says, how, message):
    root = Recording(recording.played, recording.policy, says).write(tmp_path / "data", **how)
    with pytest.raises(UserError, match=message):
        check(root, recording.policy)


def test_another_robot_is_one_line(recording, tmp_path):
    root = Recording(recording.played, recording.policy, robot="franka").write(tmp_path / "data")
    with pytest.raises(UserError, match="has robot franka, expected fairino_fr3"):
        check(root, recording.policy)


def test_all_successes_are_a_warning(recording, tmp_path):
    root = recording.write(tmp_path / "data", success=(True, True, True))
    assert check(root, recording.policy) == [
        "all 2 rollouts succeeded: the value learns speed, not what leads to failure"
    ]


def test_the_time_limit_is_no_shorter_than_what_was_played(recording, tmp_path):
    root = recording.write(tmp_path / "data")
    longest = max(Dataset(root).length(e) for e in range(3))
    assert longest_limits([root], "reach", {"reach": 5, "stack": 7}) == {"reach": longest, "stack": 7}
    assert longest_limits([root], "reach", {"reach": 5000}) == {"reach": 5000}


def test_what_a_fault_cut_off_is_no_longest_episode(recording, tmp_path):
    root = recording.write(tmp_path / "data", **{"robot/fault": "main code 3"})
    assert longest_limits([root], "reach", {"reach": 5}) == {"reach": 5}


@pytest.mark.parametrize("known", [True, False])
def test_a_servers_episodes_are_its_policys_by_their_weights(recording, tmp_path, known):
    weights = checkpoint.card(recording.policy)["weights_sha256"] if known else ""
    says = {"checkpoint": "ws://127.0.0.1:8000", "weights_sha256": weights}
    warnings = check(Recording(recording.played, recording.policy, says).write(tmp_path / "data"), recording.policy)
    assert [f"decided by the server ws://127.0.0.1:8000, taken as {recording.policy}" in one for one in warnings] == (
        [] if known else [True]
    )


def test_what_plays_on_while_it_learns_is_told_before_the_work_that_there_is_no_simulator(recording, tmp_path):
    root = recording.write(tmp_path / "robot")
    config = RecapConfig(
        task="reach", rollouts=(root,), pretrained=str(recording.policy), out=str(tmp_path / "out"), policy=POINTS,
        algorithm="grpo",
    )  # fmt: skip
    with pytest.raises(UserError, match="played on no simulator, expected simulated ones"):
        recap(config)
    assert not (tmp_path / "out").exists()
