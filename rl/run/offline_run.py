"""The stages of a run of offline RL, the same for every algorithm, and where their results are.

Each stage is done once: a killed run goes on where it stopped.
"""

import json
from dataclasses import fields
from pathlib import Path

from policies import train
from policies.evaluate import EvaluateConfig, evaluate
from policies.models import checkpoint
from policies.train import TrainConfig
from rl.algorithms.base import ALGORITHMS
from rl.data.pool import open_pool
from rl.data.rollouts import Behaviour, record_interventions, record_rollouts
from rl.learning.round import Round
from rl.run.options import RUN_KNOBS, RecapConfig
from rl.run.report import show_labels, write_report
from rl.run.stages import Stages
from rl.value import value_files
from sim.collect import collect
from sim.core.errors import UserError
from sim.core.provenance import plain, provenance
from sim.dataset.reader import Dataset
from sim.dataset.schema import INFO_PATH
from sim.episode.results import FILE as RESULTS


class OfflineRun:
    """One run in `config.out`. UserError when that was begun with other options."""

    def __init__(self, config: RecapConfig):
        self.config = config
        self.algorithm = ALGORITHMS.get(config.algorithm)()
        settings = {field.name: plain(getattr(config, field.name)) for field in fields(config)}
        self.stages = Stages(config.root, settings, may_differ=RUN_KNOBS)

    def folder(self, k: int) -> Path:
        """Return the directory of round k = 0, 1, ..."""
        return self.config.root / f"round_{k}"

    def policy(self, k: int) -> Path:
        """Return the checkpoint pi_k."""
        return self.folder(k) / "policy" if k else self.config.pretrained_root

    def behaviour(self, k: int) -> Behaviour:
        """Return pi_k as it acts: conditioned on POSITIVE, guided once it knows NEGATIVE."""
        return Behaviour(str(self.policy(k)), self.algorithm.guidance(self.config) if k else 1.0)

    def round(self, k: int) -> Round:
        """Return the data of round k: all datasets with episodes up to it, demonstrations first."""
        config = self.config
        recorded = [self.folder(j) / name for j in range(1, k + 1) for name in ("rollouts", "interventions")]
        datasets = [root for root in (config.demos_root, *recorded) if episodes_in(root)]
        return Round(k, self.folder(k), datasets, config.pretrained_root, config.time_limits, config)

    # ---- before the rounds ---------------------------------------------------------------------

    def collect_demonstrations(self) -> None:
        """Record the demonstrations that are missing."""
        root = self.config.demos_root
        if (there := episodes_in(root)) >= self.config.demo_episodes:
            self.stages.log(f"demonstrations: taking the {there} episodes of {root}")
        else:
            self.stages.log(f"demonstrations: fewer than {self.config.demo_episodes} in {root}, collecting")
            collect(self.config.collect)
        evaluated = self.config.ranges["evaluation"]
        if overlap := [seed for seed in open_pool([root]).seed if seed in evaluated]:
            raise UserError(f"{root} holds seed {overlap[0]}, which is evaluated on; change evaluation_seed")

    def imitate(self) -> None:
        """Train pi_0, supervised, every frame POSITIVE, unless the checkpoint is there."""
        config, out = self.config, self.config.pretrained_root
        if (out / checkpoint.WEIGHTS).is_file():
            task = checkpoint.load(out)[1].task
            if task not in ("", config.task):
                raise UserError(f"checkpoint {out} is for task {task!r}, not {config.task!r}; give pretrained=DIR")
            self.stages.log(f"imitation: taking the checkpoint {out}")
        else:
            self.stages.log(f"imitation: no checkpoint in {out}, training it for {config.pretrain.steps} steps")
            data = (str(config.demos_root),)
            train.train(TrainConfig(data, str(out), config.policy, config.pretrain, config.backbone))

    # ---- a round -------------------------------------------------------------------------------

    def collect(self, k: int) -> None:
        """Record autonomous episodes of pi_{k-1}, then episodes in which the expert intervenes where those failed."""
        config, before = self.config, self.behaviour(k - 1)
        rollouts, interventions = self.folder(k) / "rollouts", self.folder(k) / "interventions"
        seeds = config.rollout_seeds(k)
        self.stages.run(
            f"round {k}, {len(seeds)} rollouts", rollouts,
            lambda: record_rollouts(rollouts, config.world, before, seeds, config.crew),
        )  # fmt: skip
        self.stages.run(
            f"round {k}, interventions", interventions,
            lambda: record_interventions(
                interventions, config.world, before, rollouts, config.interventions, config.crew, config.trigger
            ),
        )  # fmt: skip

    def label(self, k: int) -> None:
        """Label every frame recorded so far."""
        data = self.round(k)
        self.stages.run(
            f"round {k}, labels", data.labels_path,
            lambda: data.write_labels(self.algorithm.label(data), self.config.algorithm),
        )  # fmt: skip
        show_labels(self._labels(k))

    def improve(self, k: int) -> None:
        """Train pi_k."""
        data = self.round(k)
        self.stages.run(f"round {k}, policy", data.policy, lambda: self.algorithm.improve(data))

    def evaluate(self, k: int) -> None:
        """Evaluate pi_k on seeds that nothing is learned from, the same in every round."""
        config, out, how = self.config, self.folder(k) / "evaluation", self.behaviour(k)
        settings = EvaluateConfig(
            checkpoint=how.checkpoint, task=config.task, episodes=config.evaluation_episodes,
            seed=config.evaluation_seed, out=str(out), workers=config.workers, films=config.films,
            indicator=how.indicator, guidance=how.guidance, randomize=config.randomize, split=config.split,
            render=config.render, executor=config.executor, ray_address=config.ray_address,
        )  # fmt: skip
        self.stages.run(f"round {k}, evaluation", out, lambda: evaluate(settings))

    # ---- at the end ----------------------------------------------------------------------------

    def report(self) -> None:
        """Write recap.json and the table."""
        rounds = range(self.config.rounds + 1)
        results = [json.loads((self.folder(k) / "evaluation" / RESULTS).read_text()) for k in rounds]
        labels = [self._labels(k) for k in rounds[1:]]
        write_report(self.config.root, results, labels, provenance({"config": self.config}))

    def _labels(self, k: int) -> dict:
        """Return what labels.json of round k holds, with the report and warnings of the value it came from."""
        labels = self.round(k).read_labels()
        value = value_files.read_metadata(self.folder(k) / "value") if "value_sha256" in labels else {}
        warnings = [*value.get("warnings", []), *labels["warnings"]]
        return {**labels, "report": value.get("report", {}), "warnings": warnings}


def episodes_in(root: Path) -> int:
    """Return the number of episodes of a dataset that may not be there yet."""
    return Dataset(root).num_episodes if (root / INFO_PATH).is_file() else 0
