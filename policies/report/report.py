"""`python -m policies.report run=DIR [out=DIR/report.html]`: one page about a run.

Shows whatever lies in the directory: evaluations (results.json), training logs (train.jsonl), videos of
episodes, recordings of a robot; of a RECAP run also what it says of itself (page.json).
"""

import json
import logging
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from policies.report.description import RunDescription, read_description
from policies.report.page import render
from policies.report.plots import bars, grouped_lines, named_lines
from policies.report.recorded import Shown, embedded, recorded, with_timelines
from policies.training.loop import LOG, read_log
from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.options import FILE, Options, at_least, option
from sim.dataset.reader import Dataset
from sim.dataset.schema import INFO_PATH
from sim.episode.results import FILE as RESULTS
from sim.episode.results import video_name

BARS = (  # title, the columns of value and interval, factor
    ("success rate, %", ("success_rate", "ci_low", "ci_high"), 100),
    ("successes an hour", ("throughput_per_hour", "throughput_ci_low", "throughput_ci_high"), 1),
)
LOSSES = {
    "flow": ("flow-matching loss", 1), "grounding": ("grounding error, mm", 100),  # learned in 0.1 m
    "eye_object_mm": ("median error of the named object on held-out scenes, mm", 1),
    "eye_target_mm": ("median error of the target on held-out scenes, mm", 1),
}  # fmt: skip
NO_LOSS = ("step", "s", "learning_rate")
TIMELINE = (
    "Rollouts of round 1 as the policy saw them, and under each the value over time, by a head that has not seen the "
    "episode. Green: frames that were labelled positive. Click or drag along the value to go there."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportConfig(Options):
    """Options of the program."""

    run: str = option("runs/demo", "a folder that a program wrote")
    out: str | None = option(None, "null: RUN/report.html", FILE)
    videos: int = option(4, "of each kind at most", at_least(0))


def write_report(config: ReportConfig) -> Path:
    """Write the page; return its path. UserError when there is nothing to report in `run`."""
    root = Path(config.run)
    description = read_description(root) or describe(root)
    evaluations = read_evaluations(root, description)
    logs = {name: root / folder / LOG for folder, name in description.trainings.items()}
    logs = {name: log for name, log in logs.items() if log.is_file()}
    if not evaluations and not logs:
        raise UserError(f"{root} holds no {RESULTS} and no {LOG}; make a run, e.g. python -m rl.recap out={root}")
    made = next((one for one in reversed(evaluations.values()) if "versions" in one), {})
    options = description.config or made.get("config")
    page = render(
        title=description.title,
        made_by=_made_by(root, made),
        evaluations=evaluations,
        note=description.note,
        bars=[_bars(evaluations, description.beside, *one) for one in BARS] if evaluations else [],
        trainings=list(_losses(logs)),
        sections=[
            (one, grouped_lines(one.curves, one.x_label, one.y_label) if one.curves else "")
            for one in description.sections
        ],
        video_sections=list(_video_sections(root, description, evaluations, config.videos)),
        timelines=bool(description.timelines),
        config=json.dumps(options, indent=1) if options else "",
    )
    out = Path(config.out) if config.out else root / "report.html"
    write_atomic(out, page.encode())
    _log.info("report: %s", out)
    return out


# ---- what lies in the folder ---------------------------------------------------------------------


def describe(root: Path) -> RunDescription:
    """Return a description of a run that has none: everything found, named by its folder."""
    return RunDescription(
        title=root.resolve().name,
        evaluations={folder: folder for folder in _folders(root, RESULTS)},
        trainings={folder: folder for folder in _folders(root, LOG)},
    )


def _folders(root: Path, file: str) -> list[str]:
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob(file))


def read_evaluations(root: Path, description: RunDescription) -> dict[str, dict]:
    """Return name -> what results.json says, of those evaluations that are there and played an episode."""
    paths = {name: root / folder / RESULTS for folder, name in description.evaluations.items()}
    read = {name: read_results(path) for name, path in paths.items() if path.is_file()}
    return {name: content for name, content in read.items() if content.get("n")}


def read_results(path: Path) -> dict:
    """Return what results.json says. UserError where it is broken, or lacks what the page shows of played episodes."""
    try:
        content = json.loads(path.read_text())
        if content.get("n"):
            shown = {name for _, columns, _ in BARS for name in columns}
            _ = [float(content[name]) for name in shown], content["mean_time_s"]
            _ = [(one["seed"], one["success"]) for one in content.get("episodes", [])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is broken, expected what policies.evaluate writes: {why}") from error
    return content


def _made_by(root: Path, made: Mapping) -> str:
    newest = max(path.stat().st_mtime for path in (root, *root.glob("*.json")))
    finished = datetime.fromtimestamp(newest, UTC)
    versions = ", ".join(f"{name} {version}" for name, version in made.get("versions", {}).items())
    return f"{finished:%d %B %Y, %H:%M} UTC; commit {made.get('git', '')[:10] or 'unknown'}; {versions}"


# ---- plots -------------------------------------------------------------------------------------


def _bars(
    evaluations: Mapping[str, dict], beside: Sequence[str], label: str, columns: tuple[str, ...], factor: float
) -> tuple[str, str]:
    """A plot and its caption."""
    value, low, high = (factor * np.array([row[name] for row in evaluations.values()], float) for name in columns)
    caption = f"{label[0].upper()}{label[1:].split(',')[0]}, with 95 % interval."
    named = {name: textwrap.fill(name, 12, break_long_words=False) for name in evaluations}  # four stand side by side
    grey = [named[name] for name in beside if name in named]
    return bars([*named.values()], value, low, high, label, grey), caption


def _losses(logs: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """A plot and caption for every loss in the logs."""
    rows = {name: read_log(log) for name, log in logs.items()}
    losses = dict.fromkeys(key for log in rows.values() for row in log for key in row if key not in NO_LOSS)
    for loss in losses:
        label, factor = LOSSES.get(loss, (loss, 1))
        lines = {
            name: ([row["step"] for row in log if loss in row], [factor * row[loss] for row in log if loss in row])
            for name, log in rows.items()
            if any(loss in row for row in log)
        }
        caption = f"{label[0].upper()}{label[1:].split(',')[0]} during training."
        yield named_lines(lines, "gradient step", label), caption


# ---- videos ------------------------------------------------------------------------------------


def _video_sections(
    root: Path, description: RunDescription, evaluations: Mapping[str, dict], most: int
) -> Iterator[tuple[str, str, list[Shown]]]:
    """Title, text and videos: of the first and the last evaluation by seed, and of recordings."""
    by_seed: dict[int, list[Shown]] = {}
    filmed = {f: _filmed(root / f, evaluations.get(name, {})) for f, name in description.evaluations.items()}
    with_videos = [folder for folder, videos in filmed.items() if videos]
    for folder in dict.fromkeys([*with_videos[:1], *with_videos[-1:]]):
        for path, seed, success in filmed[folder][:most]:
            caption = f"{description.evaluations[folder]}, seed {seed}"
            by_seed.setdefault(seed, []).append(Shown(embedded(path), caption, success))
    if by_seed:
        text = "Front and wrist camera; each row is one seed." if len(with_videos) > 1 else "Front and wrist camera."
        yield "Episodes", text, [video for pair in by_seed.values() for video in pair]
    if most and (labelled := list(with_timelines(root, description.timelines))):
        yield "What was labelled good and bad", TIMELINE, labelled
    for folder, name in description.evaluations.items():
        if (root / folder / INFO_PATH).is_file() and most:
            dataset = Dataset(root / folder)
            episodes = range(min(dataset.num_episodes, most) if dataset.features.cameras else 0)
            videos = [recorded(dataset, episode) for episode in episodes]
            yield f"Recorded: {name}", "As the policy saw it, enlarged.", videos


def _filmed(folder: Path, content: Mapping) -> list[tuple[Path, int, bool]]:
    """Return video, seed and success of the episodes of results.json that were filmed: others' may lie beside them."""
    episodes = [(one["seed"], bool(one["success"])) for one in content.get("episodes", [])]
    paths = [folder / video_name(seed, success=success) for seed, success in episodes]
    return [(path, *one) for path, one in zip(paths, episodes, strict=True) if path.is_file()]
