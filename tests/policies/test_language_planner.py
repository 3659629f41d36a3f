"""A language model chooses the next step among sentences that a policy understands: a tiny one, and a scripted one."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from policies.planner.admissible import admissible
from policies.planner.language_model import END, LanguageModelConfig, LanguageModelPlanner, TextScorer, prompt
from policies.pretrained.weights import WeightsError
from policies.runtime.planned_agent import PlannedAgent
from sim.core.contract import Observation
from sim.core.errors import UserError

WORDS = [
    "[UNK]",
    "put",
    "the",
    "red",
    "cube",
    "on",
    "green",
    "plate",
    "press",
    "blue",
    "button",
    "done",
    ",",
    ".",
    ":",
    "1",
    "2",
]
PUT, PRESS = "put the red cube on the green plate", "press the blue button"
TOLD = f"{PUT} and {PRESS}"


def test_sentences_are_about_what_is_named():
    said = {one.sentence: one.task for one in admissible(TOLD)}
    assert said == {PUT: "pick_place", PRESS: "press_button", "go to the green plate": "reach"}
    assert {one.sentence for one in admissible("the red block and the blue cube")} == {
        "stack the red cube on the blue cube", "stack the blue cube on the red cube",
    }  # fmt: skip
    assert admissible("tidy up") == []


class Scripted:
    """Likelihoods by hand: sentence -> likelihood, 0.01 for others; after two steps the end is likeliest."""

    def __init__(self, likely: dict[str, float]):
        self.likely = likely

    def log_likelihood(self, text: str, following: str) -> float:
        said = following.strip(" ,")
        if said == END:
            return math.log(0.9 if " 3." in text else 0.001)
        return math.log(self.likely.get(said, 0.01))


def plan(likely: dict[str, float], affordance) -> list[str]:
    planner, done = LanguageModelPlanner(Scripted(likely)), []
    while step := planner.next_step(TOLD, done, affordance):
        done.append(step.sentence)
    return done


def test_language_and_affordance_are_multiplied():
    likely = {PUT: 0.6, PRESS: 0.3}
    assert plan(likely, lambda sentence: 1.0) == [PUT, PRESS]
    assert plan(likely, lambda sentence: 0.4 if sentence == PUT else 1.0) == [PRESS, PUT]
    assert plan(likely, lambda sentence: 0.6 if sentence == PUT else 1.0) == [PUT, PRESS]


def test_what_names_nothing_is_refused_before_anything_moves():
    with pytest.raises(UserError, match="names nothing"):
        LanguageModelPlanner(Scripted({})).check("tidy up")


def saved(folder, vocabulary: int = len(WORDS)):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=vocabulary, **sizes)).eval()
    network.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return network


def test_a_likelihood_is_the_product_of_the_words_own(tmp_path):
    network = saved(tmp_path)
    scorer = TextScorer(LanguageModelConfig(source=str(tmp_path)))
    ids = [WORDS.index(word) for word in ("put", "the", "red", "cube")]
    product = 1.0
    for number in (2, 3):  # one word after the other, each by a call of its own
        with torch.no_grad():
            chances = network(torch.tensor([ids[:number]])).logits[0, -1].softmax(-1)
        product *= float(chances[ids[number]])
    assert scorer.log_likelihood("put the", " red cube") == pytest.approx(math.log(product), abs=1e-4)
    everything = sum(math.exp(scorer.log_likelihood("put the", word)) for word in WORDS[1:])
    assert everything < 1.0


def test_the_classes_own_model_plans(tmp_path):
    saved(tmp_path)
    planner, done = LanguageModelConfig(source=str(tmp_path)).build(), []
    while step := planner.next_step(TOLD, done, lambda sentence: 1.0):
        assert step.sentence not in done and step.seems_done
        done.append(step.sentence)
    assert len(done) <= 3
    assert prompt(TOLD, [PUT]) == f"Human: {TOLD}\nRobot: I would: 1. {PUT}, 2."


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(WeightsError):
        TextScorer(LanguageModelConfig(source=str(tmp_path)))
    saved(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match="has no tokenizer"):
        TextScorer(LanguageModelConfig(source=str(tmp_path)))


def test_what_a_policy_could_do_is_asked_of_a_look_of_its_own():
    """Also where looks come at a rate of their own, and what is decided on at a step has no images."""
    seen = []
    image, home = np.zeros((2, 2, 3), np.uint8), np.zeros(7, np.float32)
    decided = SimpleNamespace(value=-0.5, estimates=[])
    watch = SimpleNamespace(alarm=SimpleNamespace(in_limits=lambda value: value / 2))
    decider = SimpleNamespace(decide=lambda look, *_: seen.append(look) or decided, watch=watch)
    inner = SimpleNamespace(cameras=("front",), depth_cameras=(), decider=decider)
    inner.looked_at = lambda observation: replace(observation, images={})
    agent = SimpleNamespace(inner=inner, _truth=None)
    observation = Observation({"front": image, "wrist": image}, home, "put the red cube in the drawer", 0.0)
    assert PlannedAgent._affordance(agent, observation, "open the red drawer") == 0.75
    assert [*seen[0].images] == ["front"] and seen[0].instruction == "open the red drawer"
