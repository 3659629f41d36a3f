"""The report page of an offline RL run: its evaluations by name, McNemar's test, the value along rollouts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from policies.report.description import Curve, RunDescription, Section, Timeline, write_description
from rl.advantage.labels import advantages_name
from rl.run.options import RecapConfig
from sim.core.provenance import plain
from sim.dataset.reader import Dataset, read_sidecar

CURVES, VIDEOS = 5, 2  # successes and failures to show, each
VALUE_ROWS = {  # of `rl.value.value_quality.value_report`
    "spearman_held_out": "rank correlation with the return, held-out episodes",
    "spearman_rollouts": "the same, held-out rollouts alone",
    "spearman_rollouts_elapsed_time": "the same, by elapsed time instead of the value",
    "spearman_in_sample": "the same, episodes that it was fitted to",
    **{f"auc_{k}": f"AUC of success after {k} % of a rollout" for k in (25, 50, 75)},
    **{f"auc_{s}s": f"AUC of success after {s} s" for s in (2, 4)},
    "calibration_error_rollouts": "calibration error, rollouts",
    "bias_demonstrations": "mean error, demonstrations",
    "bias_rollouts": "mean error, rollouts",
}


def write_page(config: RecapConfig, rounds: Sequence[Mapping], labels: Sequence[Mapping]) -> None:
    """Write page.json of a run. rounds: rows of recap.json; labels: of rounds 1, 2, ... with the value's report."""
    root = config.root
    shown = config.recorded[0] if config.recorded else root / "round_1" / "rollouts"
    names = {k: f"after {config.algorithm} round {k}" if k else "imitation" for k in range(len(rounds))}
    evaluations = {f"round_{k}/evaluation": name for k, name in names.items()}
    beside = {"round_0/expert": "clean expert, same seeds", "robot": "same policy, emulated robot"}
    trainings = {f"round_{k}/policy": f"round {k}" for k in names if k}
    description = RunDescription(
        title=f"FAIRINO FR3: {config.task.replace('_', ' ')}",
        note=" ".join(_change(row) for row in rounds[1:]),
        evaluations=evaluations | beside,
        beside=tuple(beside.values()),
        trainings={_relative(config.pretrained_root, root): "imitation", **trainings},
        sections=tuple(value_section(Path(shown), one) for one in labels[:1] if one.get("report")),
        timelines=tuple(line for one in labels[:1] if one.get("report") for line in timelines(root, Path(shown), one)),
        config=plain(config),
    )
    write_description(root, description)


def _relative(path: Path, root: Path) -> str:
    """A folder as the report finds it from the run's; absolute where it lies elsewhere."""
    path, root = path.resolve(), root.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _change(row: Mapping) -> str:
    return (
        f"Round {row['round']} against imitation on the same seeds: {row['gained']} episodes gained, "
        f"{row['lost']} lost (McNemar's p = {row['p_success']:.2g})."
    )


def value_section(rollouts: Path, labels: Mapping) -> Section:
    """Return the value of round 1 along a few of its rollouts, and its report."""
    dataset = Dataset(rollouts)
    frames = read_sidecar(dataset.root, advantages_name(labels["tag"]))
    success = outcomes(dataset)
    curves = []
    for episode in first_of_each(success, CURVES):
        rows = frames["episode_index"] == episode
        t = (frames["frame_index"][rows] / dataset.fps).tolist()
        group = "success" if success[episode] else "failure"
        curves.append(Curve(tuple(t), tuple(map(float, frames["value"][rows])), group))
    return Section(
        title="The value function",
        caption="Value along rollouts of round 1, by heads that have not seen them: the share of the time limit that "
        "is still needed, negative. Green: successes, red: failures.",
        x_label="time, s",
        y_label="value",
        curves=tuple(curves),
        rows=tuple(
            (title, "-" if (number := labels["report"][name]) is None else f"{number:.2f}")
            for name, title in VALUE_ROWS.items()
        ),
    )


def timelines(root: Path, rollouts: Path, labels: Mapping) -> tuple[Timeline, ...]:
    """Return value and label of every frame of a few rollouts of round 1; none where no image was recorded."""
    dataset = Dataset(rollouts)
    if not dataset.features.cameras:
        return ()
    frames = read_sidecar(dataset.root, advantages_name(labels["tag"]))
    found = []
    for episode in first_of_each(outcomes(dataset), VIDEOS):
        rows = frames["episode_index"] == episode
        value, good = frames["value"][rows], frames["advantage"][rows]
        found.append(Timeline(_relative(rollouts, root), episode, tuple(map(float, value)), tuple(map(bool, good))))
    return tuple(found)


def outcomes(dataset: Dataset) -> list[bool | None]:
    """Return whether each episode succeeded, None for one that a fault or a stop cut off."""
    return [dataset.outcome(episode) for episode in range(dataset.num_episodes)]


def first_of_each(success: Sequence[bool | None], most: int) -> list[int]:
    """Return the first successes and the first failures, at most so many of each."""
    return [i for wanted in (True, False) for i in [k for k, one in enumerate(success) if one is wanted][:most]]
