"""`python -m rl.watch checkpoint=CKPT rollouts=[DIR,...] [false_alarms=0.1]`: a watch for a policy, of its rollouts.

Fits a value of what the policy sees to the returns of recorded episodes, cross-fitted, and chooses the forecast below
which an episode is taken to go wrong, so that at most `false_alarms` of the successes would have been stopped.
Prints what such an alarm catches and how long before the time limit, beside what the clock alone catches, and writes
watch.safetensors and watch.json beside the checkpoint; `policies.evaluate watch=true` and `real.rollout watch=true`
play it. Among the rollouts have to be autonomous ones of the checkpoint; others, demonstrations too, the value
learns from.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from policies.models import checkpoint
from policies.models.watch import AlarmConfig, Watch, WatchSizes, save_watch
from policies.runtime.subtask import FingerBelief
from rl.advantage.returns import BINS
from rl.advantage.targets import LabelConfig, compute_targets
from rl.data.pool import Pool, open_pool
from rl.run.recorded import check_recorded, longest_limits
from rl.value.alarm import SHARES, watched
from rl.value.cross_fit import CrossFit
from rl.value.fit_value import fit_value
from rl.value.value_head import ValueConfig
from rl.value.value_quality import value_report, value_warnings
from sim.core.console import event
from sim.core.console import table as as_table
from sim.core.errors import UserError
from sim.core.options import EACH_PLACE_ONCE, FOLDER, PROBABILITY, SEED, Options, at_least, block, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.tasks.base import TASKS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WatchConfig(Options):
    """Options of the program."""

    checkpoint: str = option(
        "runs/recap_pick_place/pretrained", "the policy, beside which the watch is written", FOLDER
    )
    rollouts: tuple[str, ...] = option(
        ("runs/recap_pick_place/round_1/rollouts",), "datasets of recorded episodes, [DIR,...]", EACH_PLACE_ONCE
    )
    false_alarms: float = option(0.1, "of the successes are stopped at most", PROBABILITY)
    label: LabelConfig = block(LabelConfig, "how returns are computed")
    value: ValueConfig = block(ValueConfig, "sizes and training of the value")
    workers: int = option(2, "threads", at_least(1))
    seed: int = option(0, "of the value's folds and weights", SEED)


def make_watch(config: WatchConfig) -> dict:
    """Write the watch; return what watch.json holds about it."""
    root = Path(config.checkpoint)
    policy, metadata = checkpoint.load(root)
    pool = with_task(open_pool(config.rollouts), metadata.tasks)
    task = str(pool.task[0])
    for warning in check_recorded(config.rollouts, task, root, range(0)):
        _log.warning(warning)
    limits = longest_limits(config.rollouts, task, {task: round(TASKS.get(task).time_limit_s * pool.fps)})
    targets = compute_targets(pool, limits, config.label)
    fit = fit_value(pool, targets, root, config.value, (config.seed, config.seed), config.workers)
    scale = config.label.scale(limits[task])
    by_value, by_clock = watched(pool, fit.values, policy.config.execute, scale)
    report = value_report(pool, targets, fit)
    for warning in value_warnings(report):
        _log.warning(warning)
    threshold = by_value.threshold(config.false_alarms)
    alarm = AlarmConfig(threshold, limits[task], grasps(pool), scale.steps_per_unit)
    seeds = [pool.seed[pool.dataset == d] for d in range(len(pool.datasets))]
    about = {
        "seeds": [[int(one.min()), int(one.max())] for one in seeds],
        "rows": [by_value.row(share) for share in SHARES], "clock": [by_clock.row(share) for share in SHARES],
        "rollouts": int(len(by_value.success)), "report": report, **provenance({"config": config}),
    }  # fmt: skip
    save_watch(root, network(fit, config.value, alarm), about)
    _log.info("held-out rollouts", extra=as_table("alarms", table(about), rows=about["rows"], clock=about["clock"]))
    _log.info(
        "alarm below a forecast of %.3f time limits, which %.0f%% of the successes fall below at most; %s",
        alarm.threshold, 100 * config.false_alarms, root,
        extra=event("watch", threshold=alarm.threshold, false_alarms=config.false_alarms),
    )  # fmt: skip
    return about


def with_task(pool: Pool, tasks: Sequence[str]) -> Pool:
    """Return the pool, of the policy's only task where it does not say its own. UserError where the policy has more."""
    if pool.task[0]:
        return pool
    if len(tasks) != 1:
        raise UserError(
            f"rollouts: {pool.datasets[0].root} does not say its task, and the policy was trained on {len(tasks)}; "
            "expected rollouts that say it, or a policy of one task"
        )
    return replace(pool, task=np.full(len(pool.task), tasks[0]))


def network(fit: CrossFit, config: ValueConfig, alarm: AlarmConfig) -> Watch:
    """Return the heads as what a policy keeps."""
    watch = Watch(WatchSizes(len(fit.heads[0].mean), config.hidden, BINS, len(fit.heads)), alarm)
    for mine, fitted in zip(watch.heads, fit.heads, strict=True):
        mine.load_state_dict(fitted.state_dict())
    return watch


def grasps(pool: Pool) -> bool:
    """Return whether the fingers held something in most successes."""
    found = [_held(pool, int(e)) for e in np.flatnonzero(pool.success)]
    return float(np.mean(found)) > 0.5


def _held(pool: Pool, e: int) -> bool:
    columns = pool.datasets[pool.dataset[e]].columns(int(pool.episode[e]), ["observation.state", "action"])
    fingers = FingerBelief(pool.fps)
    for state, action in zip(columns["observation.state"], columns["action"], strict=True):
        fingers.note(float(state[-1]), float(action[-1]))
    return fingers.held


def table(about: dict) -> Table:
    """Return for every share of successes that is stopped, what is caught of the failures and the time left then."""
    shown = Table(
        title=f"alarms in {about['rollouts']} held-out rollouts, {about['rows'][0]['failures']} of them failures"
    )
    for name in ("of successes stopped", "below", "of failures caught", "time left", "by the clock", "time left"):
        shown.add_column(name, justify="right")
    for row, clock in zip(about["rows"], about["clock"], strict=True):
        shown.add_row(f"{row['false_alarms']:.0%}", f"{row['threshold']:.3f}", *_caught(row), *_caught(clock))
    return shown


def _caught(row: dict) -> tuple[str, str]:
    return (
        "-" if row["caught"] is None else f"{row['caught']:.0%}",
        "-" if row["left_s"] is None else f"{row['left_s']:.1f} s",
    )


if __name__ == "__main__":
    run_program("watch", WatchConfig, make_watch, __doc__)
