"""`python -m policies.report run=DIR [out=DIR/report.html]`: one page of what a run came to.

Reads a directory that `rl.recap` wrote (and a robot rollout in it, when there is one). The page
stands alone: plots are inline SVG, films are embedded.
"""

import base64
import hashlib
import html
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from sim.config import run_program
from sim.dataset import Dataset, read_sidecar
from sim.errors import UserError
from sim.film import write_mp4

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

STYLE = """
body{font:16px/1.55 system-ui,sans-serif;color:#1d2733;background:#fff;max-width:1060px;margin:40px auto;
  padding:0 24px}
h1{font-size:30px;margin:0 0 4px}
h2{font-size:21px;margin:40px 0 10px;border-bottom:1px solid #dde3ea;padding-bottom:6px}
p.sub{color:#5b6b7c;margin:0 0 24px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:8px 12px;border-bottom:1px solid #e6ebf0}th{color:#5b6b7c;font-weight:600}
th:first-child,td:first-child{text-align:left}small{color:#5b6b7c}
.films{display:grid;grid-template-columns:1fr 1fr;gap:18px}
figure{margin:0}video{width:100%;border-radius:8px;background:#000}figcaption{font-size:14px;color:#5b6b7c}
.plots{display:grid;grid-template-columns:1fr 1fr;gap:18px}svg{width:100%;height:auto}pre{font-size:13px;color:#5b6b7c}
"""
BLUE, ORANGE, GREEN = "#2563a8", "#d9822b", "#2f8f5b"


@dataclass(frozen=True)
class ReportConfig:
    """Options of the program."""

    run: str = "runs/demo"
    out: str | None = None  # null: RUN/report.html
    films: int = 4  # of each kind at most


def write_report(config: ReportConfig) -> Path:
    """Write the page; returns and prints its path. UserError when `run` is no RECAP run."""
    root = Path(config.run)
    if not (root / "recap.json").is_file():
        raise UserError(f"{root} holds no recap.json; make one with python -m rl.recap out={root}")
    content = json.loads((root / "recap.json").read_text())
    parts = [
        f"<h1>FR3: {html.escape(content['config']['task'].replace('_', ' '))}</h1>",
        f"<p class=sub>{html.escape(_made_by(content))}</p>",
        "<h2>Success and throughput</h2>",
        _rounds_table(content["rounds"], _robot_row(root)),
        f"<div class=plots>{_bars(content['rounds'])}{_learning(root, len(content['rounds']))}</div>",
        *_value_section(root, content),
        *_film_section(root, len(content["rounds"]), config.films),
        f"<h2>How it was made</h2><pre>{html.escape(json.dumps(content['config'], indent=1))}</pre>",
    ]
    out = Path(config.out) if config.out else root / "report.html"
    page = f"<!doctype html><meta charset=utf-8><title>FR3 report</title><style>{STYLE}</style>{''.join(parts)}"
    out.write_text(page)
    print(f"report: {out}")
    return out


def _made_by(content: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return f"commit {content['git'][:10] or 'unknown'}; {versions}"


# ---- the table -----------------------------------------------------------------------------------


def _robot_row(root: Path) -> dict | None:
    path = root / "robot" / "results.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _rounds_table(rounds: list[dict], robot: dict | None) -> str:
    head = (
        "<tr><th>policy</th><th>episodes</th><th>success</th><th>successes an hour</th><th>time of a success</th></tr>"
    )
    named = [("imitation" if k == 0 else f"after RECAP round {k}", row) for k, row in enumerate(rounds)]
    if robot:
        named.append(("the same policy on the emulated robot, through its sockets", robot))
    body = "".join(_table_row(name, row) for name, row in named)
    note = (
        "<p><small>In brackets 95 % intervals: Wilson for success, bootstrap over episodes for throughput.</small></p>"
    )
    return f"<table>{head}{body}</table>{note}"


def _table_row(name: str, row: dict) -> str:
    success = f"{row['success_rate']:.1%} ({row['ci_low']:.1%} to {row['ci_high']:.1%})"
    an_hour = f"{row['throughput_per_hour']:.0f}"
    if row.get("throughput_ci_low") is not None:
        an_hour += f" ({row['throughput_ci_low']:.0f} to {row['throughput_ci_high']:.0f})"
    seconds = "-" if row["mean_time_s"] is None else f"{row['mean_time_s']:.1f} s"
    return f"<tr><td>{name}</td><td>{row['n']}</td><td>{success}</td><td>{an_hour}</td><td>{seconds}</td></tr>"


# ---- plots ---------------------------------------------------------------------------------------


def _svg(figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    own = hashlib.sha256(text.encode()).hexdigest()[:8]  # ids are the page's: plots must not share them
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", text)
    return f"<figure>{text}</figure>"


def _axes(title: str, x: str, y: str):
    figure, axes = plt.subplots(figsize=(5.2, 3.4))
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _bars(rounds: list[dict]) -> str:
    figure, axes = _axes("Success by round, with 95 % interval", "", "success rate")
    rate = np.array([row["success_rate"] for row in rounds])
    error = [rate - [row["ci_low"] for row in rounds], np.array([row["ci_high"] for row in rounds]) - rate]
    names = ["imitation" if k == 0 else f"round {k}" for k in range(len(rounds))]
    axes.bar(names, rate, 0.5, yerr=error, capsize=5, color=[BLUE] + [ORANGE] * (len(rounds) - 1))
    axes.set_ylim(0, 1)
    return _svg(figure)


def _learning(root: Path, rounds: int) -> str:
    figure, axes = _axes("Training", "gradient step", "flow-matching loss")
    logs = {"imitation": root / "pretrained" / "train.jsonl"}
    logs |= {f"round {k}": root / f"round_{k}" / "policy" / "train.jsonl" for k in range(1, rounds)}
    for (name, path), colour in zip(logs.items(), (BLUE, ORANGE, GREEN, "#777"), strict=False):
        if path.is_file():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            axes.plot([row["step"] for row in rows], [row["flow"] for row in rows], color=colour, label=name)
    axes.set_yscale("log")
    if axes.lines:
        axes.legend(frameon=False)
    return _svg(figure)


def _value_section(root: Path, content: dict) -> list[str]:
    """What the value says along a few rollouts."""
    if not content["values"]:
        return []
    rollouts = root / "round_1" / "rollouts"
    labels = read_sidecar(rollouts, f"advantages_{content['values'][0]['tag']}")
    figure, axes = _axes("Value along rollouts, by heads that have not seen them", "time, s", "value (-1 .. 0)")
    for episode, success in _some_of_each(Dataset(rollouts), 5):
        rows = labels["episode_index"] == episode
        t = labels["frame_index"][rows] / Dataset(rollouts).fps
        axes.plot(t, labels["value"][rows], color=GREEN if success else "#c0392b", alpha=0.7, lw=1.2)
    report = content["values"][0]["report"]
    numbers = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{'-' if v is None else f'{v:.3f}'}</td></tr>"
        for name, v in report.items()
    )
    return ["<h2>The value function</h2>", f"<div class=plots>{_svg(figure)}<table>{numbers}</table></div>",
            "<p><small>Green: episodes that ended in success; red: failures.</small></p>"]  # fmt: skip


def _some_of_each(dataset: Dataset, n: int) -> list[tuple[int, bool]]:
    success = dataset.facts_table()["success"]
    good = [(i, True) for i, s in enumerate(success) if s][:n]
    return good + [(i, False) for i, s in enumerate(success) if not s][:n]


# ---- films ---------------------------------------------------------------------------------------


def _film_section(root: Path, rounds: int, most: int) -> list[str]:
    parts = []
    for k in range(rounds):
        films = sorted((root / f"round_{k}" / "evaluation").glob("*.mp4"))[:most]
        name = "imitation" if k == 0 else f"after round {k}"
        parts += [_film(path, f"{name}, seed {path.stem.split('-')[1]}: {path.stem.split('-')[2]}") for path in films]
    robot = root / "robot"
    if (robot / "meta" / "info.json").is_file():
        parts += [_film(path, text) for path, text in _robot_films(robot, most)]
    return ["<h2>Films</h2><p>Front and wrist camera.</p>", f"<div class=films>{''.join(parts)}</div>"] if parts else []


def _robot_films(root: Path, most: int) -> list[tuple[Path, str]]:
    """The recorded camera pictures of a robot rollout, as the policy saw them, enlarged."""
    dataset, films = Dataset(root), []
    for episode in range(min(dataset.num_episodes, most)):
        views = [dataset.images(episode, camera) for camera in dataset.features.cameras]
        frames = np.concatenate(views, 2).repeat(3, 1).repeat(3, 2)
        path = root / f"film-{episode}.mp4"
        write_mp4(path, list(frames), dataset.fps)
        outcome = "success" if dataset.episode_facts(episode)["success"] else "failure"
        films.append(
            (path, f"emulated robot, as the policy saw it: {html.escape(dataset.instruction(episode))}, {outcome}")
        )
    return films


def _film(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    video = f'<video controls loop muted preload=auto src="data:video/mp4;base64,{data}"></video>'
    return f"<figure>{video}<figcaption>{caption}</figcaption></figure>"


if __name__ == "__main__":
    run_program("report", ReportConfig, write_report, __doc__)
