"""Every policy of conf/policy, on encoders that load nothing large: it trains two steps, is saved, and acts."""

import dataclasses

import pytest
import torch
import yaml
from learning import SPEC, FakeTextConfig, FakeVisionConfig, about, write_demos

from policies.compare.cells import load_preset
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.fusion.token_fusion import TokenFusionConfig
from policies.language.word_pieces import WordPiecesConfig
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.training.fit import fit, new_policy
from policies.training.lora import add_updates, merged
from policies.training.optim import OptimConfig
from policies.vision.pixels import PixelsConfig
from sim.core.paths import CONF

EYE = {"eye"}  # needs the eye's own images; test_eye.py trains it
PRESETS = sorted({path.stem for path in (CONF / "policy").glob("*.yaml")} - EYE)


def preset(name: str) -> VlaConfig:
    policy = load_preset(name)
    assert isinstance(policy, VlaConfig)
    vision = policy.vision if isinstance(policy.vision, PixelsConfig) else FakeVisionConfig()
    language = policy.language if isinstance(policy.language, WordPiecesConfig) else FakeTextConfig()
    return dataclasses.replace(policy, vision=vision, language=language)


def needs_pretrained(config: VlaConfig) -> bool:
    finds = isinstance(config.fusion, TokenFusionConfig) and config.fusion.finder is not None
    return finds or isinstance(config.fusion, GroundedPointsConfig)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_and_acts(name, tmp_path):
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(6, 7))))
    config = preset(name)
    if needs_pretrained(config):  # frozen, useless without weights: random ones will do
        policy = config.build(table.spec)
    else:
        policy, _ = new_policy(config, [table], 0, None)
    data = TrainingData([table], ObservationProcessor(policy))
    fit(policy, data, OptimConfig(steps=2, batch=4, threads=1), tmp_path / "out", about())
    loaded, _ = checkpoint.load(tmp_path / "out")
    assert loaded.config == config
    chunk = loaded.act(data.batch(0, torch.arange(3).numpy()).inputs, torch.Generator().manual_seed(0)).chunk
    assert chunk.shape == (3, config.chunk, 7) and chunk.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_learns_by_updates_of_a_tenth_of_its_numbers(name):
    policy = preset(name).build(SPEC)
    learned = {id(one) for one in policy.parameters() if one.requires_grad}
    given = sum(one.numel() for one in policy.parameters() if id(one) in learned)
    add_updates(policy, rank=8, seed=0)
    assert 0 < sum(one.numel() for one in policy.parameters() if one.requires_grad) <= 0.1 * given
    before = policy.state_dict().keys()
    assert merged(policy).state_dict().keys() == preset(name).build(SPEC).state_dict().keys() != before


@pytest.mark.parametrize("name", sorted({*PRESETS, *EYE}))
def test_a_preset_begins_with_what_it_is(name):
    first = (CONF / "policy" / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ") and first.endswith(".")


def test_after_papers_all_but_gato_begin_with_something_pretrained():
    assert {name for name in PRESETS if not needs_pretrained(preset(name))} == {"gato", "points", "small"}


def test_the_comparison_of_presets_leaves_none_out():
    named = yaml.safe_load((CONF / "exp" / "presets.yaml").read_text())["presets"]
    assert sorted(named) == sorted({*PRESETS} - {"points"})  # which looks at no image
