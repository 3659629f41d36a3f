"""Vision-language models of the hub, tiny and random, against transformers' own classes and processors."""

import dataclasses
import json
import subprocess

import numpy as np
import pytest
import torch
from learning import about, write_demos

from policies.core.parts import JointConfig
from policies.core.registry import FUSIONS
from policies.export.whole_policy import WholePolicy
from policies.language.minilm import MiniLmConfig
from policies.language.states import InstructionError
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.pretrained.hub import WEIGHTS, checked_digest
from policies.pretrained.weights import WeightsError
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.features import plan
from policies.processing.observation import ObservationProcessor
from policies.runtime.decider import Conditioning, Decider
from policies.train import TrainConfig
from policies.training.fit import fit, new_policy
from policies.training.optim import OptimConfig
from policies.vision.beside import Beside, BesideConfig
from policies.vision.efficientnet import ImageError
from policies.vision.hub import HubVision, HubVisionConfig
from policies.vision.hub_vlm import FAMILIES, HubVlm, HubVlmConfig
from sim.core.config import load
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.paths import CONF
from sim.core.provenance import plain
from sim.core.structured import typed

transformers = pytest.importorskip("transformers", reason="transformers is not installed: hub sources are not tested")
from tiny_hub import IDS, MEAN, SIDES, STD, of_name, saved_patches, saved_t5, saved_vlm  # noqa: E402

KINDS = sorted(SIDES)
TOLD, LONGER = "put the red cube", "put the red cube on the blue plate"
PUBLISHED = sorted(path.stem for path in (CONF / "policy" / "published" / "base").glob("*.yaml"))
PRESETS = {path.stem for path in (CONF / "policy").glob("*.yaml")}
NOTHING_PRETRAINED = {"gato", "points", "eye", "grounded"}  # or, of the last two, pretrained by this project


def images(side: int, seed: int = 0, n: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def encoder(folder, **options) -> HubVlm:
    return HubVlmConfig(source=str(folder), **options).build()


# ---- what transformers itself makes of the same images and sentence ----------------------------


def processor(kind: str, monkeypatch):
    """The class' own processor, with the settings under which it keeps images as they are."""
    from tiny_hub import tokenizer

    given = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer(), **given)
    side, cells = SIDES[kind]
    colours = {"image_mean": MEAN, "image_std": STD}
    if kind in ("smolvlm", "idefics3"):
        monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str)  # of videos alone
        whole = {"size": {"longest_edge": side}, "max_image_size": {"longest_edge": side}, "do_image_splitting": False}
        if kind == "smolvlm":
            return built(transformers.SmolVLMProcessor, monkeypatch)(
                transformers.SmolVLMImageProcessorPil(**colours, **whole), words, None, image_seq_len=cells**2
            )
        pixels = transformers.Idefics3ImageProcessorPil(**colours, **whole)
        return built(transformers.Idefics3Processor, monkeypatch)(pixels, words, image_seq_len=cells**2)
    if kind == "paligemma":
        pixels = transformers.SiglipImageProcessorPil(**colours, size={"height": side, "width": side})
        pixels.image_seq_length = cells**2
        return transformers.PaliGemmaProcessor(pixels, words)
    pixels = transformers.Qwen2VLImageProcessorPil(**colours, patch_size=4, min_pixels=64, max_pixels=10**6)
    own = transformers.Qwen2_5_VLProcessor if kind == "qwen2_5_vl" else transformers.Qwen3VLProcessor
    return built(own, monkeypatch)(pixels, words, None)


def built(kind: type, monkeypatch) -> type:
    """Let a processor be made without that of videos, which needs torchvision."""
    monkeypatch.setattr(kind, "check_argument_for_proper_class", lambda self, name, value: None)
    return kind


PROMPTS = {  # as each class' chat template writes one message of two images and a sentence
    "smolvlm": "<|im_start|>User:<image><image>{}<end_of_utterance>\nAssistant:",
    "paligemma": "<image><image>{}",
    "qwen2_5_vl": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    + 2 * "<|vision_start|><|image_pad|><|vision_end|>" + "{}<|im_end|>\n<|im_start|>assistant\n",
    "qwen3_vl": "<|im_start|>user\n" + 2 * "<|vision_start|><|image_pad|><|vision_end|>"
    + "{}<|im_end|>\n<|im_start|>assistant\n",
}  # fmt: skip
PROMPTS["idefics3"] = PROMPTS["smolvlm"]


def expected(folder, kind, seen, sentence, monkeypatch, layers=None):
    """States (T, W) of the class itself, of one look, and its tokens (T,)."""
    config = transformers.AutoConfig.from_pretrained(folder)
    if layers:
        config.text_config.num_hidden_layers = layers
        if getattr(config.text_config, "layer_types", None):
            config.text_config.layer_types = config.text_config.layer_types[:layers]
    model = getattr(transformers, FAMILIES[kind].kind).from_pretrained(folder, config=config).eval()
    given = processor(kind, monkeypatch)(images=[seen], text=[PROMPTS[kind].format(sentence)], return_tensors="pt")
    given.pop("labels", None)
    with torch.no_grad():
        found = model(**given, output_hidden_states=True).hidden_states[-1]
    return found[0].numpy(), given["input_ids"][0].numpy()


@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_the_class_and_its_processor(kind, layers, tmp_path, monkeypatch):
    folder, (side, cells) = saved_vlm(tmp_path, kind), SIDES[kind]
    front, wrist = images(side, 0), images(side, 1)
    config = HubVlmConfig(source=str(folder), layers=layers)
    maps, words, mask = config.build().read({"front": front, "wrist": wrist}, [TOLD, LONGER])
    assert maps["front"][0].shape == (2, *config.channels, cells, cells) and words.dtype == np.float32
    for row, sentence in enumerate([TOLD, LONGER]):
        states, ids = expected(folder, kind, [front[row], wrist[row]], sentence, monkeypatch, layers)
        places = np.flatnonzero(ids == IDS[FAMILIES[kind].cell])
        assert len(places) == 2 * cells**2
        for i, found in enumerate((maps["front"][0][row], maps["wrist"][0][row])):
            own = states[places[i * cells**2 : (i + 1) * cells**2]]
            assert np.allclose(found.reshape(len(found), -1).T, own, atol=2e-5)
        behind = states[places[-1] + 1 :]
        assert mask[row].sum() == len(behind) and mask[row, : len(behind)].all()
        assert np.allclose(words[row, : len(behind)], behind, atol=2e-5) and not words[row, len(behind) :].any()
    assert np.abs(maps["front"][0][0] - maps["front"][0][1]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_is_where_it_is_in_the_image(kind, tmp_path):
    """Without attention a token knows of its own pixels alone: one changed block changes one cell."""
    folder, (side, cells) = saved_vlm(tmp_path, kind), SIDES[kind]
    vlm = encoder(folder)
    for name, weights in vlm._model.named_parameters():
        if any(part in name for part in ("o_proj", "out_proj", "attn.proj")):
            weights.zero_()
    before, size = images(side, n=1), side // cells
    after = before.copy()
    after[:, 2 * size : 3 * size, size : 2 * size] = 255 - after[:, 2 * size : 3 * size, size : 2 * size]
    a, b = (vlm.read({"front": one}, [TOLD])[0]["front"][0][0] for one in (before, after))
    changed = np.argwhere(np.abs(a - b).max(0) > 1e-4)
    assert changed.tolist() == [[2, 1]]


@pytest.mark.parametrize("kind", KINDS)
def test_words_know_the_images(kind, tmp_path):
    vlm, side = encoder(saved_vlm(tmp_path, kind)), SIDES[kind][0]
    one, other = (vlm.read({"front": images(side, seed)}, [TOLD, TOLD])[1] for seed in (0, 1))
    assert np.abs(one[0] - other[0]).max() > 1e-3


def test_images_of_another_size_are_scaled_as_the_processor_does(tmp_path):
    vlm, large = encoder(saved_vlm(tmp_path, "paligemma")), images(48)
    large = np.stack([np.add.outer(np.arange(48), k * np.arange(48)) for k in (1, 2, 3)], -1)[None].astype(np.uint8)
    given = transformers.SiglipImageProcessorPil(size={"height": 16, "width": 16}, image_mean=MEAN, image_std=STD)
    own = given(images=list(large), return_tensors="pt")["pixel_values"]
    step = 1 / 255 / torch.tensor(STD).view(3, 1, 1)  # theirs is rounded to whole numbers of 255
    assert ((vlm._pixels(large) - own).abs() <= 1.01 * step).all()


def test_no_row_changes_another(tmp_path):
    vlm, seen = encoder(saved_vlm(tmp_path, "smolvlm")), {"front": images(32, n=11), "wrist": images(32, 1, n=11)}
    told = [TOLD, LONGER] * 5 + [TOLD]
    together = vlm.read(seen, told)
    for row in (0, 1, 10):
        alone = vlm.read({camera: one[row : row + 1] for camera, one in seen.items()}, told[row : row + 1])
        assert np.allclose(together[0]["wrist"][0][row], alone[0]["wrist"][0][0], atol=1e-5)
        assert np.allclose(together[1][row], alone[1][0], atol=1e-5) and (together[2][row] == alone[2][0]).all()


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "said"),
    [(" ", "is empty"), ("put " * 40, "tokens, expected at most 48"), ("put <image>", "stands for an image")],
)
def test_an_instruction_that_cannot_be_read_is_one_line(sentence, said, tmp_path):
    vlm = encoder(saved_vlm(tmp_path, "smolvlm"))
    vlm.check(TOLD)
    with pytest.raises(InstructionError, match=said) as caught:
        vlm.check(sentence)
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_fit_is_one_line(tmp_path):
    with pytest.raises(WeightsError, match="holds a t5, expected one of smolvlm, idefics3, paligemma, qwen2_5_vl"):
        encoder(saved_t5(tmp_path / "t5"))
    folder = saved_vlm(tmp_path / "vlm", "smolvlm")
    with pytest.raises(UserError, match=r"policy.vision.layers=4, expected at most 3"):
        encoder(folder, layers=4)
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(WeightsError, match="does not say how images are scaled"):
        encoder(folder)
    content = json.loads((folder / "tokenizer.json").read_text().replace('"<image>"', '"<picture>"'))
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="has no token '<image>'"):
        encoder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"with tokenizer.json"):
        encoder(folder)


def test_weights_in_several_files_have_one_digest(tmp_path):
    whole = saved_vlm(tmp_path / "one", "smolvlm")
    parts = saved_vlm(tmp_path / "many", "smolvlm", max_shard_size="30KB")
    assert not (parts / WEIGHTS).is_file() and len(list(parts.glob("model-*.safetensors"))) > 1
    printed = subprocess.run("sha256sum model-*.safetensors | sha256sum", shell=True, cwd=parts, capture_output=True)
    digest = printed.stdout.decode().split()[0]
    assert checked_digest(parts, digest) == digest == checked_digest(parts, None)
    seen = {"front": images(32)}
    assert np.allclose(
        encoder(parts, sha256=digest).read(seen, [TOLD] * 2)[1], encoder(whole).read(seen, [TOLD] * 2)[1]
    )
    with pytest.raises(WeightsError, match=f"have sha256 {digest}, expected 000"):
        encoder(parts, sha256="000")


def test_a_fingerprint_tells_what_states_depend_on(tmp_path):
    folder = saved_vlm(tmp_path, "smolvlm")
    made = [encoder(folder), encoder(folder, layers=2), encoder(folder, max_tokens=40)]
    assert len({one.fingerprint for one in made}) == 3 and encoder(folder).fingerprint == made[0].fingerprint
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": STD, "image_std": STD}))
    darker = encoder(folder)
    assert darker.fingerprint != made[0].fingerprint and darker.earlier_fingerprint == made[0].earlier_fingerprint


def test_parts_that_do_not_fit_are_one_line(tmp_path):
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(6,))))
    vision = HubVlmConfig(source=str(saved_vlm(tmp_path / "vlm", "smolvlm")))
    wrong = {
        "reads the instruction itself, policy.language.name=minilm would too": {"language": MiniLmConfig()},
        "needs .*maps at two strides": {},
        "'cross_attention' needs a picture of the goal": {"fusion": FUSIONS.get("cross_attention")(goal=True)},
        "'true_points' needs words alone": {"fusion": FUSIONS.get("true_points")(sentence=3)},
    }
    for said, parts in wrong.items():
        config = dataclasses.replace(VlaConfig(vision=vision, language=None), **parts)
        with pytest.raises(UserError, match=said) as caught:
            config.build(table.spec)
        assert "\n" not in str(caught.value)


# ---- policies on it ----------------------------------------------------------------------------


def test_training_sees_what_acting_sees(tmp_path):
    """The cache holds the words of each frame; what the policy is told belongs to it."""
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(6, 7))))
    vision = HubVlmConfig(source=str(saved_vlm(tmp_path / "vlm", "smolvlm")))
    policy = VlaConfig(vision=vision, language=None, fusion=FUSIONS.get("transformer")()).build(table.spec)
    processor = ObservationProcessor(policy)
    data = TrainingData([table], processor)
    cached = data.batch(0, np.array([3])).inputs
    seen = {camera: table.dataset.images(0, camera)[3] for camera in table.spec.cameras}
    look = Observation(seen, table.state[3], table.dataset.instruction(0), 0.0)
    fresh = processor.observe(look)
    for a, b in ((cached.words, fresh.words), *zip(cached.maps["front"], fresh.maps["front"], strict=True)):
        assert a.shape == b.shape and torch.allclose(a, b, atol=5e-3)
    assert cached.word_mask.dtype == torch.bool and torch.equal(cached.word_mask, fresh.word_mask)
    assert not torch.allclose(cached.words, data.batch(0, np.array([0])).inputs.words)
    before = plan(table.dataset, processor).episodes
    table.dataset.instruction = lambda episode: LONGER
    assert plan(table.dataset, processor).episodes != before
    with pytest.raises(UserError, match="encoded outside torch: such a policy is not exported"):
        WholePolicy(Decider(policy, Conditioning()))


def tiny(part, root):
    """Return a part whose models are tiny ones of the same classes."""
    if isinstance(part, BesideConfig):
        return dataclasses.replace(part, encoders=tuple(tiny(one, root) for one in part.encoders))
    found = dataclasses.replace(part, source=of_name(part.source, root)) if hasattr(part, "revision") else part
    return dataclasses.replace(found, layers=found.layers and 2) if isinstance(found, HubVlmConfig) else found


@pytest.fixture(scope="module")
def models_root(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_of_size_base_trains_and_acts(name, tmp_path, models_root):
    config = load("train", TrainConfig, [f"policy={name}", "policy/size=base"]).policy
    assert isinstance(config, VlaConfig) and hasattr(config.vision, "revision") or config.vision.name == "beside"
    assert (config.language is None) == isinstance(config.vision, JointConfig)
    config = dataclasses.replace(
        config, vision=tiny(config.vision, models_root), language=config.language and tiny(config.language, models_root)
    )
    assert typed(type(config), plain(config)) == config
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(6, 7))))
    policy, _ = new_policy(config, [table], 0, None)
    data = TrainingData([table], ObservationProcessor(policy))
    fit(policy, data, OptimConfig(steps=2, batch=4, threads=1), tmp_path / "out", about())
    loaded, _ = checkpoint.load(tmp_path / "out")
    assert loaded.config == config
    chunk = loaded.act(data.batch(0, np.arange(3)).inputs, torch.Generator().manual_seed(0)).chunk
    assert chunk.shape == (3, config.chunk, 7) and chunk.isfinite().all()
    if not loaded.needs.goal and not loaded.memory and not loaded.look_age:
        seen = {camera: table.dataset.images(0, camera)[0] for camera in table.spec.cameras}
        look = Observation(seen, table.state[0], table.dataset.instruction(0), 0.0)
        decided = Decider(loaded, Conditioning()).decide(look, look.state, [], torch.Generator().manual_seed(0))
        assert decided.chunk.shape == (config.chunk, 7) and np.isfinite(decided.chunk).all()


def test_every_preset_has_a_published_backbone_or_nothing_pretrained():
    assert {*PUBLISHED, *NOTHING_PRETRAINED} == PRESETS


@pytest.mark.parametrize("name", sorted(NOTHING_PRETRAINED))
def test_a_preset_with_nothing_published_is_one_line(name):
    with pytest.raises(UserError, match="none_is_published_for_this_policy"):
        load("train", TrainConfig, [f"policy={name}", "policy/size=base"])


def test_what_a_preset_has_is_what_its_paper_has():
    found = {name: load("train", TrainConfig, [f"policy={name}", "policy/size=base"]).policy for name in PUBLISHED}
    assert found["smolvla"].vision == HubVlmConfig(layers=16)
    assert {name for name in found if "paligemma" in str(found[name].vision)} == {
        "pi0", "pi0_fast", "pi05", "pi06star", "rt2",
    }  # fmt: skip
    assert [one.source for one in found["openvla"].vision.encoders] == [
        "facebook/dinov2-with-registers-large", "google/siglip-so400m-patch14-224",
    ]  # fmt: skip
    changed = load("train", TrainConfig, ["policy=pi0", "policy/size=base", "policy.vision.sha256=ab"]).policy
    assert changed.vision.sha256 == "ab" and changed.head == found["pi0"].head


# ---- encoders of images beside each other ------------------------------------------------------


def test_cells_have_the_channels_of_both_encoders(tmp_path):
    parts = [
        HubVisionConfig(source=str(saved_patches(tmp_path / kind, kind)))
        for kind in ("dinov2_with_registers", "siglip")
    ]
    config, seen = BesideConfig(encoders=tuple(parts)), images(32)
    both = config.build()
    (found,) = both.encode(seen)
    assert found.shape == (2, *config.channels, 4, 4) == (2, 48, 4, 4)
    assert np.array_equal(found, np.concatenate([HubVision(one).encode(seen)[0] for one in parts], 1))
    with torch.no_grad():
        assert np.allclose(both.module()(torch.from_numpy(seen))[0], found, atol=1e-5)
    assert both.earlier_fingerprint != both.fingerprint != BesideConfig(encoders=tuple(parts[::-1])).build().fingerprint


def test_encoders_that_do_not_fit_beside_each_other_are_one_line(tmp_path):
    part = HubVisionConfig(source=str(saved_patches(tmp_path / "siglip", "siglip")))
    with pytest.raises(UserError, match="are hub_vision, efficientnet, expected ones with one map"):
        _ = BesideConfig(encoders=(part, VlaConfig().vision)).channels

    class Coarse:
        def encode(self, images):
            return (np.zeros((len(images), 8, 2, 2), np.float32),)

    with pytest.raises(ImageError, match="see 4x4 and 2x2 cells of an image"):
        Beside([part.build(), Coarse()]).encode(images(32))
