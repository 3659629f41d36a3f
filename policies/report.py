"""`python -m policies.report run=DIR [out=DIR/report.html]`: one page of what a run came to.

Reads a directory that `rl.recap` wrote (and a robot rollout in it, when there is one). The page
stands alone: plots are inline SVG, films are embedded.
"""

import base64
import html
import io
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from sim.core.errors import UserError
from sim.core.program import run_program
from sim.dataset.reader import Dataset, read_sidecar
from sim.envs.video import write_mp4

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

_log = logging.getLogger(__name__)

STYLE = """
body{font:16px/1.55 system-ui,"Segoe UI",sans-serif;color:#1d2733;background:#fff;max-width:1080px;margin:44px auto;
  padding:0 24px}
h1{font-size:32px;line-height:1.2;margin:0 0 6px}
h2{font-size:21px;margin:48px 0 14px;border-bottom:1px solid #dde3ea;padding-bottom:6px}
p.sub,p.note,figcaption,summary{color:#5b6b7c}p.sub{margin:0}p.note,figcaption,summary,pre{font-size:14px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:9px 12px;border-bottom:1px solid #e6ebf0;white-space:nowrap}
th{color:#5b6b7c;font-weight:600;font-size:14px}td i{color:#5b6b7c;font-style:normal;font-size:14px}
th:first-child,td:first-child{text-align:left;white-space:normal}
.two{display:grid;grid-template-columns:1fr 1fr;gap:26px 22px;align-items:start}
figure{margin:0}video{display:block;width:100%;border-radius:8px;background:#000;margin-bottom:6px}
svg{width:100%;height:auto}b.good{color:#2f7d4f}b.bad{color:#b8402f}
@media(max-width:720px){.two{grid-template-columns:1fr}table{font-size:14px}}
"""
VIEWPORT = '<meta name=viewport content="width=device-width">'
BLUE, ORANGE, GREEN, RED = "#2563a8", "#d9822b", "#2f8f5b", "#c0392b"
LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the reader's fonts
    "font.family": "sans-serif",
    "axes.edgecolor": "#8794a2",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6ebf0",
}


@dataclass(frozen=True)
class ReportConfig:
    """Options of the program."""

    run: str = "runs/demo"
    out: str | None = None  # null: RUN/report.html
    videos: int = 4  # of each kind at most


def write_report(config: ReportConfig) -> Path:
    """Write the page; returns and prints its path. UserError when `run` is no RECAP run."""
    root = Path(config.run)
    if not (root / "recap.json").is_file():
        raise UserError(f"{root} holds no recap.json; make one with python -m rl.recap out={root}")
    content = json.loads((root / "recap.json").read_text())
    rounds = content["rounds"]
    logs = _training_logs(root, content["config"], len(rounds))
    parts = [
        f"<h1>FAIRINO FR3: {html.escape(content['config']['task'].replace('_', ' '))}</h1>",
        f"<p class=sub>{html.escape(_made_by(content, root))}</p>",
        "<h2>Success and throughput</h2>",
        _rounds_table(rounds, _robot_row(root)),
        f"<div class=two>{_bars(rounds, *SUCCESS)}{_bars(rounds, *THROUGHPUT)}</div>",
        "<h2>Training</h2>",
        f"<div class=two>{_learning(logs, *FLOW)}{_learning(logs, *GROUNDING)}</div>",
        *_value_section(root, content),
        *_film_section(root, len(rounds), config.videos),
        "<h2>How it was made</h2><details><summary>all options</summary>",
        f"<pre>{html.escape(json.dumps(content['config'], indent=1))}</pre></details>",
    ]
    out = Path(config.out) if config.out else root / "report.html"
    head = f"<meta charset=utf-8>{VIEWPORT}<title>FR3 report</title><style>{STYLE}</style>"
    page = f"<!doctype html><html lang=en>{head}{''.join(parts)}"
    out.write_text(page)
    _log.info("report: %s", out)
    return out


def _made_by(content: dict, root: Path) -> str:
    finished = datetime.fromtimestamp((root / "recap.json").stat().st_mtime, UTC)
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return f"{finished:%d %B %Y, %H:%M} UTC; commit {content['git'][:10] or 'unknown'}; {versions}"


# ---- the table -----------------------------------------------------------------------------------


def _robot_row(root: Path) -> dict | None:
    path = root / "robot" / "results.json"
    row = json.loads(path.read_text()) if path.is_file() else {"n": 0}
    return row if row["n"] else None


def _rounds_table(rounds: list[dict], robot: dict | None) -> str:
    names = ("policy", "episodes", "success", "successes an hour", "time of a success")
    head = "".join(f"<th>{name}</th>" for name in names)
    named = [(_name(k), row) for k, row in enumerate(rounds)]
    if robot:
        named.append(("the same policy on the emulated robot, through its sockets", robot))
    body = "".join(_table_row(name, row) for name, row in named)
    note = "95 % intervals: Wilson for success, bootstrap over episodes for throughput." + "".join(
        f" Round {k} against imitation on the same seeds: {row['gained']} episodes gained, {row['lost']} lost "
        f"(McNemar's p = {row['p_success']:.2g})."
        for k, row in enumerate(rounds)
        if k
    )
    return f"<table><tr>{head}</tr>{body}</table><p class=note>{note}</p>"


def _table_row(name: str, row: dict) -> str:
    success = f"{row['success_rate']:.1%} <i>({row['ci_low']:.1%} to {row['ci_high']:.1%})</i>"
    low, high = row["throughput_ci_low"], row["throughput_ci_high"]
    an_hour = f"{row['throughput_per_hour']:.0f} <i>({low:.0f} to {high:.0f})</i>"
    seconds = "-" if row["mean_time_s"] is None else f"{row['mean_time_s']:.1f} s"
    return f"<tr><td>{name}</td><td>{row['n']}</td><td>{success}</td><td>{an_hour}</td><td>{seconds}</td></tr>"


def _name(k: int) -> str:
    return f"after RECAP round {k}" if k else "imitation"


# ---- plots ---------------------------------------------------------------------------------------


SUCCESS = ("success rate, %", "success_rate", "ci_low", "ci_high", 100)
THROUGHPUT = ("successes an hour", "throughput_per_hour", "throughput_ci_low", "throughput_ci_high", 1)
FLOW = ("flow", "flow-matching loss", 1)
GROUNDING = ("grounding", "grounding error, mm", 100)  # per coordinate; learned in units of 0.1 m


def _axes(x: str, y: str):
    plt.rcParams.update(LOOK)
    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure, caption: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(figure)
    text = buffer.getvalue()
    return f"<figure>{text[text.index('<svg') :]}<figcaption>{caption}</figcaption></figure>"


def _bars(rounds: list[dict], label: str, *columns) -> str:
    """One bar a round with its interval. columns: names of value, low, high; a factor."""
    *names, factor = columns
    value, low, high = (factor * np.array([row[name] for row in rounds], float) for name in names)
    figure, axes = _axes("", label)
    places = np.arange(len(rounds))
    colours = [BLUE] + [ORANGE] * (len(rounds) - 1)
    axes.bar(places, value, 0.45, yerr=[value - low, high - value], capsize=6, color=colours, ecolor="#1d2733")
    axes.set_xticks(places, ["imitation" if k == 0 else f"round {k}" for k in places])
    axes.set_xlim(-0.7, len(rounds) - 0.3)
    axes.set_ylim(0, 100 if factor == 100 else None)
    axes.grid(visible=False, axis="x")
    return _svg(figure, f"{label[0].upper()}{label[1:].split(',')[0]} by round, with 95 % interval.")


def _training_logs(root: Path, config: dict, rounds: int) -> dict[str, Path]:
    """Of every policy of the run; imitation may have been trained elsewhere."""
    logs = {"imitation": Path(config["pretrained"] or root / "pretrained") / "train.jsonl"}
    return logs | {f"round {k}": root / f"round_{k}" / "policy" / "train.jsonl" for k in range(1, rounds)}


def _learning(logs: dict[str, Path], column: str, label: str, factor: float) -> str:
    figure, axes = _axes("gradient step", label)
    for (name, path), colour in zip(logs.items(), (BLUE, ORANGE, GREEN, RED), strict=False):
        if path.is_file():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            values = [factor * row[column] for row in rows]
            axes.plot([row["step"] for row in rows], values, color=colour, label=name, lw=1.6)
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(frameon=False)
    return _svg(figure, f"{label[0].upper()}{label[1:].split(',')[0]} during training, one point every 50 steps.")


def _value_section(root: Path, content: dict) -> list[str]:
    """What the value of the first round says along a few rollouts, where the algorithm has one."""
    if not content["values"] or not content["values"][0]["report"]:
        return []
    value, dataset = content["values"][0], Dataset(root / "round_1" / "rollouts")
    labels = read_sidecar(dataset.root, f"advantages_{value['tag']}")
    figure, axes = _axes("time, s", "value")
    for episode, success in _some_of_each(dataset, 5):
        rows = labels["episode_index"] == episode
        t = labels["frame_index"][rows] / dataset.fps
        axes.plot(t, labels["value"][rows], color=GREEN if success else RED, alpha=0.75, lw=1.3)
    caption = (
        "Value along rollouts of round 1, from heads that have not seen them: the share of the time limit still "
        "needed, negative. <b class=good>Green</b>: successes, <b class=bad>red</b>: failures."
    )
    numbers = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{'-' if number is None else f'{number:.3f}'}</td></tr>"
        for name, number in value["report"].items()
    )
    return ["<h2>The value function</h2>", f"<div class=two>{_svg(figure, caption)}<table>{numbers}</table></div>"]


def _some_of_each(dataset: Dataset, n: int) -> list[tuple[int, bool]]:
    success = dataset.metadata_table()["success"]
    good = [(i, True) for i, s in enumerate(success) if s][:n]
    return good + [(i, False) for i, s in enumerate(success) if not s][:n]


# ---- films ---------------------------------------------------------------------------------------


def _film_section(root: Path, rounds: int, most: int) -> list[str]:
    """The first and the last policy on the same seeds side by side, then the robot."""
    parts = []
    by_seed: dict[str, list[str]] = {}
    for k in sorted({0, rounds - 1}):
        for path in sorted((root / f"round_{k}" / "evaluation").glob("episode-*.mp4"))[:most]:
            _, seed, outcome = path.stem.split("-")
            by_seed.setdefault(seed, []).append(_film(path, f"{_name(k)}, seed {seed}", outcome == "success"))
    if by_seed:
        films = "".join(film for pair in by_seed.values() for film in pair)
        parts += ["<h2>The policy, before and after</h2><p>Front and wrist camera; each row is one seed.</p>",
                  f"<div class=two>{films}</div>"]  # fmt: skip
    if (root / "robot" / "meta" / "info.json").is_file():
        parts += ["<h2>On the emulated robot, through its sockets</h2><p>As the policy saw it, enlarged.</p>",
                  f"<div class=two>{''.join(_robot_films(root / 'robot', most))}</div>"]  # fmt: skip
    return parts


def _robot_films(root: Path, most: int) -> list[str]:
    """The recorded pictures of both cameras, side by side."""
    dataset, films = Dataset(root), []
    for episode in range(min(dataset.num_episodes, most)):
        views = [dataset.images(episode, camera) for camera in dataset.features.cameras]
        frames = np.concatenate(views, 2).repeat(3, 1).repeat(3, 2)
        path = root / f"film-{episode}.mp4"
        write_mp4(path, list(frames), dataset.fps)
        films.append(_film(path, dataset.instruction(episode), bool(dataset.episode_metadata(episode)["success"])))
    return films


def _film(path: Path, caption: str, success: bool) -> str:  # noqa: FBT001
    data = base64.b64encode(path.read_bytes()).decode()
    outcome = "<b class=good>success</b>" if success else "<b class=bad>failure</b>"
    return (
        f'<figure><video controls autoplay loop muted playsinline src="data:video/mp4;base64,{data}"></video>'
        f"<figcaption>{html.escape(caption)}: {outcome}</figcaption></figure>"
    )


if __name__ == "__main__":
    run_program("report", ReportConfig, write_report, __doc__)
