"""The stages of a run of offline RL, the same for every algorithm, and where their results are.

Each stage is done once: a killed run goes on where it stopped.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from policies import train
from policies.evaluate import EvaluateConfig, evaluate
from policies.train import TrainConfig
from rl.algorithms.base import ALGORITHMS
from rl.data.expert import record_expert
from rl.data.pool import episodes_in, open_pool
from rl.data.rollouts import Behaviour, record_interventions, record_rollouts
from rl.learning.online import world_of
from rl.learning.round import Round
from rl.run.checks import headroom_warning, indicator_check, indicator_line
from rl.run.given import check_given
from rl.run.options import RUN_KNOBS, RecapConfig
from rl.run.page import write_page
from rl.run.recorded import check_recorded, longest_limits
from rl.run.report import show_labels, write_report
from rl.value import value_files
from sim.collect import collect
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.provenance import plain, provenance
from sim.core.tracker import NoTracker, Prefixed, Tracker
from sim.dataset.reader import Dataset
from sim.episode.results import FILE as RESULTS
from sim.run.stages import Stages

_log = logging.getLogger(__name__)


class OfflineRun:
    """One run in `config.out`. UserError when that was begun with other options."""

    def __init__(
        self, config: RecapConfig, tracker: Tracker | None = None, learners: Sequence[RecapConfig] | None = None
    ):
        """learners: other runs that are to learn from this one's data; None: this one is."""
        self.config, self.tracker = config, tracker or NoTracker()
        self.algorithm = ALGORITHMS.get(config.algorithm)()
        self._start = check_given(config)
        for learner in [config] if learners is None else learners:
            self._check_algorithm(learner)
        settings = {field.name: plain(getattr(config, field.name)) for field in fields(config)}
        limits = config.time_limits
        if config.recorded:
            evaluated = config.ranges["evaluation"]
            for warning in check_recorded(config.recorded, config.task, config.pretrained_root, evaluated):
                _log.warning(warning)
            limits = longest_limits(config.recorded, config.task, limits)
        self.time_limits = limits
        config.label.scale(limits[config.task])
        self.stages = Stages(config.root, settings, may_differ=RUN_KNOBS)

    def _check_algorithm(self, learner: RecapConfig) -> None:
        """UserError where an algorithm cannot learn with its options, or with the run's policy or recorded rollouts."""
        algorithm = ALGORITHMS.get(learner.algorithm)()
        if learner.rounds and self._start.needs.goal and (algorithm.plays or not learner.recorded):
            raise UserError(
                f"rounds={learner.rounds}: this policy is told its goal by a picture, which policies.evaluate alone "
                "can draw, so that it plays no rollouts; expected another, or rounds=0"
            )
        algorithm.check(learner, self._start)
        if algorithm.plays and self.config.recorded:
            world_of([Path(root) for root in self.config.recorded])

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
        config, folder = self.config, self.folder(k)
        played = [self.folder(j) / name for j in range(1, k + 1) for name in ("rollouts", "interventions")]
        given = [Path(root) for root in config.recorded]
        datasets = [root for root in (config.demos_root, *(given or played)) if episodes_in(root)]
        newest = given or [folder / "rollouts"]
        data = Round(k, folder, datasets, config.pretrained_root, self.time_limits, config, newest)
        data.tracker = Prefixed(self.tracker, f"round_{k}/policy")
        return data

    # ---- before the rounds ---------------------------------------------------------------------

    def collect_demonstrations(self) -> None:
        """Record the demonstrations that are missing."""
        root = self.config.demos_root
        there = episodes_in(root)
        # What a given policy has been shown stays as it is; the run's own may be what a killed one had collected.
        shown = self.config.demos and self.config.is_trained and there
        if shown or there >= self.config.demo_episodes:
            _log.info("demonstrations: taking the %d episodes of %s", there, root)
        else:
            _log.info("demonstrations: fewer than %d in %s, collecting", self.config.demo_episodes, root)
            collect(self.config.collect)
        recorded = Dataset(root)
        self.config.robot.load().check_same(recorded.info["robot_type"], recorded.fps, str(root))
        evaluated = self.config.ranges["evaluation"]
        if overlap := [seed for seed in open_pool([root]).seed if seed in evaluated]:
            raise UserError(f"{root} holds seed {overlap[0]}, which is evaluated on; change evaluation_seed")

    def imitate(self) -> None:
        """Train pi_0, supervised, every frame POSITIVE, unless the checkpoint is there."""
        config, out = self.config, self.config.pretrained_root
        if config.is_trained:
            _log.info("imitation: taking the checkpoint %s", out)
        else:
            _log.info("imitation: no checkpoint in %s, training it for %d steps", out, config.pretrain.steps)
            train.train(
                TrainConfig(
                    data=(str(config.demos_root),),
                    out=str(out),
                    policy=config.policy,
                    optim=config.pretrain,
                    init_fusion=config.init_fusion,
                ),
                Prefixed(self.tracker, "imitation"),
            )  # fmt: skip

    # ---- a round -------------------------------------------------------------------------------

    def collect(self, k: int) -> None:
        """Record autonomous episodes of pi_{k-1}, then episodes in which the expert intervenes where those failed.

        Nothing where they were recorded before. Warn where pi_{k-1} leaves little to win.
        """
        config, before = self.config, self.behaviour(k - 1)
        if warning := headroom_warning(self._results(k - 1, "evaluation"), self._results(0, "expert")):
            _log.warning(warning)
        if config.recorded:
            episodes = sum(episodes_in(Path(root)) for root in config.recorded)
            _log.info("round %d: taking the %d episodes of %s", k, episodes, ", ".join(config.recorded))
            return
        rollouts, interventions = self.folder(k) / "rollouts", self.folder(k) / "interventions"
        seeds = config.rollout_seeds(k)
        self.stages.run(
            f"round {k}, {len(seeds)} rollouts", rollouts,
            lambda: record_rollouts(rollouts, config.world, before, seeds, config),
        )  # fmt: skip
        self.stages.run(
            f"round {k}, interventions", interventions,
            lambda: record_interventions(
                interventions, config.world, before, rollouts, config.interventions, config, config.trigger
            ),
        )  # fmt: skip

    def label(self, k: int) -> None:
        """Label every frame recorded so far."""
        data, algorithm = self.round(k), self.algorithm
        self.stages.run(
            f"round {k}, labels", data.labels_path,
            lambda: data.write_labels(
                algorithm.label(data), self.config.algorithm, conditioned=algorithm.conditioned
            ),
        )  # fmt: skip
        show_labels(self._labels(k))

    def improve(self, k: int) -> None:
        """Train pi_k."""
        data = self.round(k)
        self.stages.run(f"round {k}, policy", data.policy, lambda: self.algorithm.improve(data))

    def evaluate(self, k: int) -> None:
        """Evaluate pi_k on seeds that nothing is learned from, the same in every round."""
        config, out = self.config, self.folder(k) / "evaluation"
        settings = self.evaluation(out, self.behaviour(k), config.evaluation_episodes, config.videos)
        tracker = Prefixed(self.tracker, f"round_{k}/evaluation")
        self._play(f"round {k}, evaluation", settings, tracker)

    def _play(self, stage: str, settings: EvaluateConfig, tracker: Tracker | None = None) -> None:
        """Play an evaluation. Results are taken where a run was killed between them and the note of the stage."""
        out = settings.directory
        self.stages.run(stage, out, lambda: (out / RESULTS).is_file() or evaluate(settings, tracker))

    def evaluation(self, out: Path, how: Behaviour, episodes: int, videos: int = 0) -> EvaluateConfig:
        """Return an evaluation on the run's seeds, the first `episodes` of them."""
        config = self.config
        return EvaluateConfig(
            checkpoint=how.checkpoint, task=config.task, episodes=episodes, seed=config.evaluation_seed, out=str(out),
            workers=config.workers, videos=videos, indicator=how.indicator, guidance=how.guidance,
            randomize=config.randomize, split=config.split, render=config.render, robot=config.robot,
            executor=config.executor, ray_address=config.ray_address,
        )  # fmt: skip

    # ---- checks --------------------------------------------------------------------------------

    def evaluate_expert(self) -> None:
        """Play the clean expert on the seeds of the evaluation."""
        config, out = self.config, self.folder(0) / "expert"
        seeds = config.ranges["evaluation"]
        self.stages.run("clean expert", out, lambda: record_expert(out, config.world, seeds, config))

    def check_indicator(self, k: int) -> None:
        """Compare success of pi_k under POSITIVE, no and NEGATIVE indicator on the first seeds of the evaluation."""
        n, how = self.config.check_episodes, self.behaviour(k)
        if not n or not self.algorithm.conditioned:
            return
        if not how.guidance:
            _log.info("guidance=0: the policy plays alike whatever the indicator, which is not checked")
            return
        for name, played in (("none", replace(how, indicator="unknown", guidance=1.0)),
                             ("negative", replace(how, indicator="negative"))):  # fmt: skip
            out = self.folder(k) / f"evaluation_{name}"
            self._play(f"round {k}, check with indicator {name}", self.evaluation(out, played, n))
        check = self._check(k)
        level = logging.INFO if check["holds"] else logging.WARNING
        _log.log(level, indicator_line(check), extra=event("indicator_check", round=k, **check))

    def _check(self, k: int) -> dict:
        episodes = {name: self._results(k, f"evaluation_{name}")["episodes"] for name in ("none", "negative")}
        seeds = {one["seed"] for one in episodes["none"]}
        positive = [one for one in self._results(k, "evaluation")["episodes"] if one["seed"] in seeds]
        return indicator_check({"positive": positive, **episodes})

    # ---- at the end ----------------------------------------------------------------------------

    def report(self) -> None:
        """Write recap.json and the table."""
        rounds = range(self.config.rounds + 1)
        results = [self._results(k, "evaluation") for k in rounds]
        labels = [self._labels(k) for k in rounds[1:]]
        checks = [self._check(k) for k in rounds[1:] if (self.folder(k) / "evaluation_negative").exists()]
        metadata = {"checks": checks, **provenance({"config": self.config})}
        rows = write_report(
            self.config.root, self.config.algorithm, results, self._results(0, "expert"), labels, metadata
        )
        write_page(self.config, rows, labels)

    def _results(self, k: int, name: str) -> dict:
        return json.loads((self.folder(k) / name / RESULTS).read_text())

    def _labels(self, k: int) -> dict:
        """Return what labels.json of round k holds, with the report and warnings of the value it came from."""
        labels = self.round(k).read_labels()
        value = value_files.read_metadata(self.folder(k) / "value") if "value_sha256" in labels else {}
        warnings = [*value.get("warnings", []), *labels["warnings"]]
        return {**labels, "report": value.get("report", {}), "warnings": warnings}
