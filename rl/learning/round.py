"""The data of one round of offline RL, and what is computed of it when an algorithm asks.

Files of round k, in OUT/round_k:
    rollouts/ interventions/    datasets recorded in this round
    value/                      value.safetensors, value.json, when the algorithm fits a value
    labels.json                 the tag of the label files beside every dataset, positive rates, warnings
    policy/                     the checkpoint pi_k
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from policies.models import checkpoint
from rl.advantage.labels import Labels, advantages_name, write_labels
from rl.advantage.positive_rates import one_sided, positive_table
from rl.advantage.targets import Targets, compute_targets
from rl.data.pool import ROLLOUT, Pool, open_pool
from rl.learning.config import LearningConfig
from rl.value import value_files
from rl.value.cross_fit import CrossFit
from rl.value.fit_value import fit_value
from rl.value.value_quality import check_outcomes, value_report, value_warnings
from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.provenance import provenance
from sim.core.tracker import NoTracker, Tracker


class Round:
    """Round `number` = 1, 2, ...; its data is opened, and its value fitted, at the first use."""

    def __init__(
        self, number: int, folder: Path, datasets: Sequence[Path], pretrained: Path, time_limits: Mapping[str, int],
        config: LearningConfig, rollouts: Sequence[Path],
    ):  # fmt: skip
        """datasets: all that was recorded so far, demonstrations first; time_limits: task -> T_max in steps; rollouts:
        the datasets of this round's autonomous episodes.
        """
        self.number, self.folder, self.datasets = number, folder, list(datasets)
        self.pretrained, self.time_limits, self.config = pretrained, time_limits, config
        self.rollouts = list(rollouts)
        self.tracker: Tracker = NoTracker()  # of the retraining

    @property
    def policy(self) -> Path:
        """The checkpoint directory that `Algorithm.improve` fills."""
        return self.folder / "policy"

    @property
    def is_trained(self) -> bool:
        """Whether the checkpoint is there."""
        return (self.policy / checkpoint.WEIGHTS).is_file()

    def part(
        self, folder: Path, datasets: Sequence[Path], rollouts: Sequence[Path], *, pretrained: Path | None = None,
        config: LearningConfig | None = None,
    ) -> "Round":  # fmt: skip
        """Return a round on other data within this one, with its number, time limits and tracker.

        pretrained, config: None: those of this round.
        """
        part = Round(
            self.number, folder, datasets, pretrained or self.pretrained, self.time_limits, config or self.config,
            rollouts,
        )  # fmt: skip
        part.tracker = self.tracker
        return part

    # ---- what labels are computed from -----------------------------------------------------------

    @cached_property
    def pool(self) -> Pool:
        """All episodes."""
        return open_pool(self.datasets)

    @cached_property
    def newest(self) -> np.ndarray:
        """bool (N,): frames of this round's autonomous rollouts, as far as they have an outcome."""
        autonomous = self.pool.per_frame(self.pool.source == ROLLOUT) & self.pool.counted
        return self.pool.in_datasets(self.rollouts) & autonomous

    @cached_property
    def targets(self) -> Targets:
        """Rewards and returns of every frame."""
        return compute_targets(self.pool, self.time_limits, self.config.label)

    @cached_property
    def fit(self) -> CrossFit:
        """The value, cross-fitted from scratch on embeddings of the pretrained policy, and saved."""
        config = self.config
        check_outcomes(self.pool)  # before the work begins
        seeds = config.seed, config.seed + 100 * self.number
        fit = fit_value(self.pool, self.targets, self.pretrained, config.value, seeds, config.workers)
        self._save_value(fit)
        return fit

    def _save_value(self, fit: CrossFit) -> None:
        report = value_report(self.pool, self.targets, fit)
        content = {
            "round": self.number,
            "value_sha256": value_files.weights_hash(fit.heads),
            "report": report,
            "warnings": [*check_outcomes(self.pool), *value_warnings(report)],
            "history": fit.history,
            **self._made_of(),
        }
        value_files.save_value(self.folder / "value", fit.heads, self.config.value, content)

    def _made_of(self) -> dict:
        metadata = {"label": self.config.label, "time_limit_steps": self.time_limits}
        data = {str(dataset.root): dataset.fingerprint() for dataset in self.pool.datasets}
        return {**provenance(metadata), "episodes": len(self.pool.length), "frames": len(self.pool.owner), "data": data}

    # ---- labels ----------------------------------------------------------------------------------

    def write_labels(self, labels: Labels, algorithm: str, *, conditioned: bool = False) -> None:
        """Write the labels beside every dataset, then labels.json. Episodes without an outcome are never drawn.

        conditioned: the policy is told the indicator, and groups that show it one alone are warned of.
        """
        labels = replace(labels, weight=np.where(self.pool.counted, labels.weight, np.float32(0)))
        value = {"value_sha256": value_files.weights_hash(self.fit.heads)} if labels.values is not None else {}
        digest = hashlib.sha256(labels.positive.tobytes() + labels.weight.tobytes()).hexdigest()
        tag = f"round{self.number}_{algorithm}_{digest[:8]}"
        rates = positive_table(self.pool, labels.positive & (labels.weight > 0))
        content = {
            "round": self.number, "algorithm": algorithm, "tag": tag, **value, "epsilon": labels.epsilons,
            "positive_rates": rates, "warnings": one_sided(rates) if conditioned else [], **self._made_of(),
        }  # fmt: skip
        write_labels(self.pool, self.targets, labels, tag, {"algorithm": algorithm, **value, **self._made_of()})
        write_atomic(self.labels_path, json.dumps(content, indent=1).encode())

    @property
    def labels_path(self) -> Path:
        """The file that `write_labels` writes last."""
        return self.folder / "labels.json"

    def read_labels(self) -> dict:
        """Read labels.json. UserError when there is none."""
        try:
            return json.loads(self.labels_path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.labels_path} cannot be read: the round has no labels") from error

    @property
    def labels_name(self) -> str:
        """The sidecar of every dataset that holds this round's labels."""
        return advantages_name(self.read_labels()["tag"])
