"""One round's judgement: fit the value on all data, label all data with it, say how good both are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from policies.models import checkpoint
from policies.train import encoders
from rl.advantage.labels import Labels, Targets, label, positive_table, targets, write_labels
from rl.data.pool import Pool, open_pool
from rl.run.options import RecapConfig
from rl.value import value_files
from rl.value.label_quality import value_report
from rl.value.value import CrossFit, assign_folds, cross_fit
from rl.value.value_features import read_pool
from sim.core.provenance import provenance


def judge(out: Path, config: RecapConfig, k: int, roots: Sequence[Path], newest: Path) -> dict:
    """Value in `out`, labels beside every dataset of `roots`; the threshold is taken over `newest`, this
    round's rollouts. Returns what value.json says."""
    torch.set_num_threads(config.workers)
    pool = open_pool(roots)
    goal = targets(pool, config.time_limits, config.label)
    fit = fit_value(pool, goal, config, k)
    labels = label(pool, goal, fit.values, pool.of([newest]), config.time_limits, config.label)
    sha256 = value_files.weights_hash(fit.heads)
    tag = f"round{k}_{sha256[:8]}"
    about = provenance({"value_sha256": sha256, "label": config.label, "time_limit_steps": config.time_limits})
    write_labels(pool, goal, labels, tag, about)
    content = {"tag": tag, "round": k, **_describe(pool, goal, fit, labels), "history": fit.history, **about}
    content["data"] = {str(dataset.root): dataset.fingerprint() for dataset in pool.datasets}
    value_files.save_value(out, fit.heads, config.value, content)
    return content


def fit_value(pool: Pool, goal: Targets, config: RecapConfig, k: int) -> CrossFit:
    """Cross-fitted heads on readings of the pretrained policy, from scratch."""
    model, _ = checkpoint.load(config.pretrained_root)
    vision, text = encoders(1)
    readings = read_pool(model, pool, vision, text, config.workers)
    strata = np.unique(np.char.add(pool.source, pool.success.astype(str)), return_inverse=True)[1]
    fold = assign_folds(pool.seed, strata, config.value.folds, config.seed)  # a seed is a layout
    return cross_fit(readings, goal.values, goal.teaches, pool.owner, fold, config.value, config.seed + 100 * k)


def _describe(pool: Pool, goal: Targets, fit: CrossFit, labels: Labels) -> dict:
    return {
        "episodes": len(pool.length),
        "frames": len(pool.owner),
        "report": value_report(pool, goal, fit),
        "epsilon": labels.epsilons,
        "positive_rates": positive_table(pool, labels),
    }
