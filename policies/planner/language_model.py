"""The planner that asks a language model which step comes next, as SayCan does (Ahn et al. 2022, arXiv 2204.01691).

Each sentence that the instruction may mean is scored by how likely the model goes on with it, times how likely the
policy does it now; so is the end of the plan. SayCan's model is PaLM with examples in its prompt; here any causal model
of the Hugging Face hub without examples, and small ones often choose wrongly: `planner=grammar` is exact where the
grammar reads an instruction. Hi Robot (Shi et al. 2025, arXiv 2502.19417) has its model write the step; one that is
chosen among sentences is always one that the policy understands.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.core.planner import Affordance, PlannedStep, Planner, PlannerConfig
from policies.core.registry import PLANNERS
from policies.planner.admissible import admissible
from policies.planner.grammar import planned
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import option

END = "done."
TOKENIZER = "tokenizer.json"

_log = logging.getLogger(__name__)


@PLANNERS.register("language_model")
@dataclass(frozen=True)
class LanguageModelConfig(PlannerConfig):
    """Which model."""

    name: str = "language_model"
    source: str = option("HuggingFaceTB/SmolLM2-360M-Instruct", "a causal model of the hub, or a folder that holds one")
    revision: str | None = option(None, "of the hub's repository; null: what its cache has, or the newest")
    sha256: str | None = option(None, "of its weights; null: any")

    def build(self) -> "LanguageModelPlanner":
        return LanguageModelPlanner(TextScorer(self))


class TextScorer:
    """A frozen causal language model that tells how likely it goes on with a text."""

    def __init__(self, config: LanguageModelConfig):
        """WeightsError when the model is missing, not a causal one, or not the pinned one."""
        from policies.language.states import load_tokenizer  # torch takes seconds: only who asks a model waits
        from policies.pretrained.hub import checked_digest, hub_folder, load_network
        from policies.pretrained.weights import WeightsError

        folder = hub_folder(config.source, config.revision)
        checked_digest(folder, config.sha256)
        if not (folder / TOKENIZER).is_file():
            raise WeightsError(f"{folder} has no {TOKENIZER}")
        self._network: Any = load_network(folder, "AutoModelForCausalLM")
        self._tokenizer = load_tokenizer(folder / TOKENIZER)

    def log_likelihood(self, text: str, following: str) -> float:
        """Return the logarithm of the likelihood that the model follows a text with these words."""
        import torch

        first = self._tokenizer.encode(text).ids
        then = self._tokenizer.encode(following, add_special_tokens=False).ids
        with torch.no_grad():
            logits = self._network(input_ids=torch.tensor([first + then])).logits[0, len(first) - 1 : -1]
        return float(logits.float().log_softmax(-1)[range(len(then)), then].sum())


class LanguageModelPlanner(Planner):
    """Chooses the next step anew after each."""

    def __init__(self, scorer: TextScorer):
        self._scorer = scorer

    def check(self, instruction: str) -> None:
        """UserError where an instruction names nothing that a sentence of a task's could be about."""
        if not admissible(instruction):
            raise UserError(
                f"{instruction!r} names nothing that a task is about, such as 'the red cube', 'the blue plate'"
            )

    def next_step(self, instruction: str, done: Sequence[str], affordance: Affordance) -> PlannedStep | None:
        left = [one for one in admissible(instruction) if one.sentence not in done]
        asked = prompt(instruction, done)
        likely = [self._scorer.log_likelihood(asked, f" {one.sentence},") for one in left]
        likely.append(self._scorer.log_likelihood(asked, f" {END}"))
        scores = np.exp(np.array(likely) - max(likely))
        scores[:-1] *= [affordance(one.sentence) for one in left]
        best = int(scores.argmax())
        said = END if best == len(left) else left[best].sentence
        share = float(scores[best] / scores.sum())
        _log.info("next: %s, %.0f %% of %d", said, 100 * share, len(scores), extra=event("next_step", said=said))
        return None if best == len(left) else planned(left[best])


def prompt(instruction: str, done: Sequence[str]) -> str:
    """Return the text that a model is to go on with."""
    steps = "".join(f" {number}. {sentence}," for number, sentence in enumerate(done, 1))
    return f"Human: {instruction}\nRobot: I would:{steps} {len(done) + 1}."
