"""A RECAP run's directory with everything a report reads, by a real run's own writers; outcomes are made up."""

import json
from pathlib import Path

import numpy as np
from learning import write_demos

from rl.advantage.labels import advantages_name
from rl.run.options import RecapConfig
from rl.run.page import VALUE_ROWS, write_page
from rl.run.report import write_report
from sim.core.provenance import provenance
from sim.dataset.reader import Dataset, write_sidecar
from sim.envs.video import encoded
from sim.episode import results

TAG = "round_1"
VALUE = {
    "round": 1, "tag": TAG, "value_sha256": "0" * 64, "epsilon": {"pick_place": 0.01},
    "report": {**dict.fromkeys(VALUE_ROWS, 0.5), "spearman_held_out": 0.71, "auc_50": None},
    "positive_rates": [],
}  # fmt: skip


def write_run(root: Path, robot: bool = True, algorithm: str = "recap") -> Path:
    """A run of one round under `root`."""
    evaluations = [_evaluate(root / f"round_{k}" / "evaluation", share) for k, share in enumerate((0.72, 0.9))]
    _log_training(root / "pretrained")
    _log_training(root / "round_1" / "policy")
    _label(write_demos(root / "round_1" / "rollouts", lengths=(60, 90, 75, 120)))
    if robot:
        write_demos(root / "robot", lengths=(40, 50))
        rows = [_row(900000 + i, success=bool(i)) for i in range(2)]
        results.write(root / "robot", {**results.summary(rows), "episodes": rows})
    config = RecapConfig(out=str(root), algorithm=algorithm)
    rows = write_report(root, config.algorithm, evaluations, evaluations[1], [VALUE], provenance({"config": config}))
    write_page(config, rows, [VALUE])
    return root


def _row(seed: int, success: bool) -> dict:
    steps = 90 + seed % 40 if success else 300
    return {"seed": seed, "success": success, "steps": steps, "time_s": steps * 0.05, "guard": {}}


def _evaluate(out: Path, share: float) -> dict:
    lucky = np.random.default_rng(3).random(60) < share
    rows = [_row(900000 + i, bool(success)) for i, success in enumerate(lucky)]
    content = {**results.summary(rows), **provenance({}), "episodes": rows}
    results.write(out, content)
    for row in rows[:2]:
        outcome = "success" if row["success"] else "failure"
        gray = [np.full((64, 128, 3), 80 + i, np.uint8) for i in range(20)]
        (out / f"episode-{row['seed']}-{outcome}.mp4").write_bytes(encoded(gray, 20))
    return content


def _log_training(out: Path) -> None:
    out.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(1, 0.05, 40)
    rows = [
        {"step": 50 * i, "flow": 0.9 * i**-0.5 * noise[i], "grounding": 0.5 * i**-0.7 * noise[-i], "s": i}
        for i in range(1, 25)
    ]
    (out / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _label(root: Path) -> None:
    dataset = Dataset(root)
    lengths = [dataset.length(i) for i in range(dataset.num_episodes)]
    frames = {
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "frame_index": np.concatenate([np.arange(n) for n in lengths]),
    }
    values = np.concatenate([np.linspace(-n / 300, 0, n) for n in lengths])
    labels = {"value": values.astype(np.float32), "advantage": np.arange(len(values)) % 3 > 0}
    write_sidecar(root, advantages_name(TAG), {**frames, **labels}, {})
