"""`python -m rl.recap [+exp=pick_place] [out=DIR]`: RECAP, advantage-conditioned offline RL (pi*-0.6).

    D <- demonstrations;  pi_0 <- imitation on D with indicator POSITIVE
    for k = 1..K
        D   <- D + autonomous episodes of pi_{k-1} + episodes in which the expert corrects it
        V_k <- cross-fitted on all of D
        I   <- [A > epsilon], A from V_k; epsilon: a fraction of this round's rollouts is positive; good corrections 1
        pi_k <- from pi_0, on all of D with indicators I, dropped in 30 % of the samples

Departures: imitation on the task's demonstrations stands for both pre-training and SFT; V_k starts
from scratch (see value.py); a minimum of every batch is demonstrations, as rounds are reported to
crowd them out; corrections are made where autonomous episodes failed. Demonstrations are labelled by
V_k with the same epsilon. Rounds are compared with pi_0 on the same seeds. A killed run goes on.
"""

import json
from dataclasses import fields
from pathlib import Path

from policies import train
from policies.evaluate import EvaluateConfig, evaluate
from policies.models import checkpoint
from policies.processing.data import Source, TrainingData
from policies.train import TrainConfig, about_training, encoders, fit
from rl.advantage.labels import advantages_name
from rl.data.pool import open_pool
from rl.data.rollouts import Behaviour, record_corrections, record_rollouts
from rl.run.options import RUN_KNOBS, RecapConfig
from rl.run.report import show_value, write_report
from rl.run.stages import Stages
from rl.run.value_and_labels import judge
from rl.value import value_files
from sim.collect import collect
from sim.core.config import run_program
from sim.core.errors import UserError
from sim.core.provenance import plain, provenance
from sim.dataset.reader import Dataset
from sim.dataset.schema import INFO_PATH
from sim.episode.results import FILE as RESULTS


def recap(config: RecapConfig) -> Path:
    """The whole algorithm; returns the checkpoint of the last round."""
    run = Run(config)
    run.demonstrate()
    run.imitate()
    run.evaluate(0)
    for k in range(1, config.rounds + 1):
        run.gather(k)
        run.judge(k)
        run.improve(k)
        run.evaluate(k)
    run.report()
    return run.policy(config.rounds)


class Run:
    """The stages of one run and where their results stand."""

    def __init__(self, config: RecapConfig):
        self.config = config
        settings = {field.name: plain(getattr(config, field.name)) for field in fields(config)}
        self.stages = Stages(config.root, settings, may_differ=RUN_KNOBS)

    def place(self, k: int, name: str) -> Path:
        return self.config.root / f"round_{k}" / name

    def policy(self, k: int) -> Path:
        """The checkpoint pi_k."""
        return self.place(k, "policy") if k else self.config.pretrained_root

    def behaviour(self, k: int) -> Behaviour:
        """pi_k as it acts: asked for POSITIVE; guided once it has learned what NEGATIVE is."""
        return Behaviour(str(self.policy(k)), self.config.guidance if k else 1.0)

    def data(self, k: int) -> list[Path]:
        """All datasets with episodes up to round k, demonstrations first."""
        rounds = [self.place(j, name) for j in range(1, k + 1) for name in ("rollouts", "corrections")]
        return [root for root in (self.config.demos_root, *rounds) if episodes_in(root)]

    # ---- before the rounds ---------------------------------------------------------------------

    def demonstrate(self) -> None:
        root = self.config.demos_root
        if (there := episodes_in(root)) >= self.config.demo_episodes:
            self.stages.say(f"demonstrations: taking the {there} episodes of {root}")
        else:
            self.stages.say(f"demonstrations: fewer than {self.config.demo_episodes} in {root}, collecting")
            collect(self.config.collect)
        tested = self.config.ranges["evaluation"]
        if overlap := [seed for seed in open_pool([root]).seed if seed in tested]:
            raise UserError(f"{root} holds seed {overlap[0]}, which is evaluated on; change evaluation_seed")

    def imitate(self) -> None:
        """Supervised fine-tuning: every frame POSITIVE."""
        config, out = self.config, self.config.pretrained_root
        if (out / checkpoint.WEIGHTS).is_file():
            task = checkpoint.load(out)[1].task
            if task not in ("", config.task):
                raise UserError(f"checkpoint {out} is for task {task!r}, not {config.task!r}; give pretrained=DIR")
            self.stages.say(f"imitation: taking the checkpoint {out}")
        else:
            self.stages.say(f"imitation: no checkpoint in {out}, training it for {config.pretrain.steps} steps")
            train.train(TrainConfig(str(config.demos_root), str(out), config.policy, config.pretrain, config.backbone))

    # ---- a round -------------------------------------------------------------------------------

    def gather(self, k: int) -> None:
        """Autonomous and corrected episodes of the policy before."""
        config, before = self.config, self.behaviour(k - 1)
        rollouts, corrections = self.place(k, "rollouts"), self.place(k, "corrections")
        seeds = config.rollout_seeds(k)
        self.stages.run(
            f"round {k}, {len(seeds)} rollouts", rollouts,
            lambda: record_rollouts(rollouts, config.world, before, seeds, config.crew),
        )  # fmt: skip
        self.stages.run(
            f"round {k}, corrections", corrections,
            lambda: record_corrections(
                corrections, config.world, before, rollouts, config.corrections, config.crew, config.trigger
            ),
        )  # fmt: skip

    def judge(self, k: int) -> None:
        """Value and labels."""
        out = self.place(k, "value")
        newest = self.place(k, "rollouts")
        self.stages.run(f"round {k}, value and labels", out, lambda: judge(out, self.config, k, self.data(k), newest))
        show_value(value_files.read_about(out))

    def improve(self, k: int) -> None:
        """The policy, again from the pretrained checkpoint."""
        out = self.policy(k)
        self.stages.run(f"round {k}, policy", out, lambda: self._retrain(k, out))

    def _retrain(self, k: int, out: Path) -> None:
        config, roots = self.config, self.data(k)
        if (out / checkpoint.WEIGHTS).is_file():
            return
        value = value_files.read_about(self.place(k, "value"))
        model, before = checkpoint.load(config.pretrained_root)
        vision, text = encoders(1)
        sources = [Source(root, advantages_name(value["tag"])) for root in roots]
        shares = batch_shares([Dataset(root).num_frames for root in roots], config.demo_share)
        data = TrainingData(sources, model.config, vision, text, shares, config.workers)
        facts = {
            "recap": config,
            "round": k,
            "value_sha256": value["value_sha256"],
            "init": str(config.pretrained_root),
        }
        about = about_training(vision, text, roots, facts, before.provenance, config.guidance)
        fit(model, data, config.retrain, out, about)

    def evaluate(self, k: int) -> None:
        """Success on seeds that nothing is learned from, the same in every round."""
        config, out, how = self.config, self.place(k, "evaluation"), self.behaviour(k)
        settings = EvaluateConfig(
            checkpoint=how.checkpoint, task=config.task, episodes=config.evaluation_episodes,
            seed=config.evaluation_seed, out=str(out), workers=config.workers, films=config.films,
            indicator=how.indicator, guidance=how.guidance, randomize=config.randomize, split=config.split,
            render=config.render, executor=config.executor, ray_address=config.ray_address,
        )  # fmt: skip
        self.stages.run(f"round {k}, evaluation", out, lambda: evaluate(settings))

    # ---- at the end ----------------------------------------------------------------------------

    def report(self) -> None:
        rounds = range(self.config.rounds + 1)
        results = [json.loads((self.place(k, "evaluation") / RESULTS).read_text()) for k in rounds]
        values = [value_files.read_about(self.place(k, "value")) for k in rounds[1:]]
        write_report(self.config.root, results, values, provenance({"config": self.config}))


def episodes_in(root: Path) -> int:
    """Of a dataset that may not be there yet."""
    return Dataset(root).num_episodes if (root / INFO_PATH).is_file() else 0


def batch_shares(frames: list[int], demo_share: float) -> list[float]:
    """Each dataset's share of a batch: by frames, but the first (demonstrations) at least `demo_share`."""
    first = max(frames[0] / sum(frames), demo_share) if len(frames) > 1 else 1.0
    rest = sum(frames[1:])
    return [first, *((1 - first) * n / rest for n in frames[1:])]


if __name__ == "__main__":
    run_program("recap", RecapConfig, recap, __doc__)
