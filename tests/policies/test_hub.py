"""Backbones of the hub by transformers' own classes, tiny and random: what is loaded, and what is refused."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from learning import SPEC, about
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from policies.fusion.transformer import TransformerConfig
from policies.language.hub import HubText, HubTextConfig
from policies.merge import MergeConfig, merge
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.pretrained.hub import WEIGHTS, hub_folder
from policies.pretrained.weights import WeightsError, sha256_of
from policies.processing.observation import ObservationProcessor
from policies.runtime.agent import check_encoders
from policies.train import TrainConfig
from policies.vision.hub import PREPROCESSOR, HubVision, HubVisionConfig
from sim.core.config import load
from sim.core.errors import UserError

transformers = pytest.importorskip("transformers", reason="transformers is not installed: hub sources are not tested")

LAYERS = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
TINY = {**LAYERS, "intermediate_size": 40, "image_size": 32, "patch_size": 8}
MEAN, STD = [0.5, 0.4, 0.3], [0.5, 0.25, 0.2]


def random_model(kind: str) -> "transformers.PreTrainedModel":
    torch.manual_seed(0)
    if kind == "siglip":  # both towers, as the hub has it
        text = {**LAYERS, "intermediate_size": 40, "vocab_size": 20, "max_position_embeddings": 8}
        return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=TINY))
    if kind == "clip":
        return transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TINY))
    if kind == "dinov2_with_registers":
        return transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**TINY))
    return transformers.Dinov2Model(transformers.Dinov2Config(**{**TINY, "image_size": 56}))  # trained on larger images


def saved_vision(folder: Path, kind: str) -> Path:
    random_model(kind).save_pretrained(folder)
    size = {"crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 40}} if kind == "dinov2" else {}
    content = {"size": {"height": 32, "width": 32}, **size, "image_mean": MEAN, "image_std": STD}
    (folder / PREPROCESSOR).write_text(json.dumps(content))
    return folder


def images(n: int = 3, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["siglip", "clip", "dinov2", "dinov2_with_registers"])
def test_a_map_is_the_patches_that_the_class_itself_returns(tmp_path, kind):
    folder = saved_vision(tmp_path, kind)
    config, seen = HubVisionConfig(source=str(folder)), images()
    (found,) = HubVision(config).encode(seen)
    assert found.shape == (3, *config.channels, 4, 4) and found.dtype == np.float32
    pixels = torch.from_numpy(((seen / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32))
    model = random_model(kind).eval()
    with torch.no_grad():
        states = (model.vision_model if kind == "siglip" else model)(pixel_values=pixels).last_hidden_state
    first = states.shape[1] - 16
    assert first == {"siglip": 0, "clip": 1, "dinov2": 1, "dinov2_with_registers": 5}[kind]
    for y in range(4):
        for x in range(4):
            assert np.allclose(found[:, :, y, x], states[:, first + 4 * y + x], atol=1e-5)


def test_older_files_say_the_side_by_a_number_and_newer_ones_in_the_processors_own(tmp_path):
    folder, seen = saved_vision(tmp_path, "clip"), images(1)
    expected = HubVision(HubVisionConfig(source=str(folder))).encode(seen)[0]
    colours = {"image_mean": MEAN, "image_std": STD}
    (folder / PREPROCESSOR).write_text(json.dumps({"crop_size": 32, "size": 40, **colours}))  # as CLIP's first files
    assert np.array_equal(HubVision(HubVisionConfig(source=str(folder))).encode(seen)[0], expected)
    (folder / PREPROCESSOR).unlink()
    content = {"image_processor": {"size": {"height": 32, "width": 32}, **colours}}
    (folder / "processor_config.json").write_text(json.dumps(content))
    assert np.array_equal(HubVision(HubVisionConfig(source=str(folder))).encode(seen)[0], expected)


def test_loading_prints_nothing(tmp_path, capfd):
    folder = saved_vision(tmp_path, "siglip")
    capfd.readouterr()
    HubVision(HubVisionConfig(source=str(folder)))
    assert capfd.readouterr() == ("", "")


def test_images_of_any_size_are_scaled(tmp_path):
    vision = HubVision(HubVisionConfig(source=str(saved_vision(tmp_path, "siglip"))))
    large = np.repeat(np.repeat(images(), 4, 1), 3, 2)
    plain = np.full((1, 96, 64, 3), 77, np.uint8)
    assert vision.encode(large)[0].shape == (3, 24, 4, 4)
    assert np.allclose(vision.encode(plain)[0], vision.encode(plain[:, :32, :32])[0], atol=1e-5)


def saved_t5(folder: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3, "vocab_size": 12}
    transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)).save_pretrained(folder)
    words = ["<pad>", "</s>", "<unk>", "put", "the", "red", "cube", "down"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.enable_padding(length=20)  # as many a file asks for
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_states_are_those_of_t5s_own_encoder_in_a_padded_batch(tmp_path):
    folder = saved_t5(tmp_path)
    config = HubTextConfig(source=str(folder), max_tokens=6)
    states, mask = HubText(config).encode(["put the red cube down", "put cube"])
    assert states.shape == (2, 6, config.width) and mask.sum(1).tolist() == [6, 3] and not states[~mask].any()
    ids = torch.tensor([[3, 4, 5, 6, 7, 1], [3, 6, 1, 0, 0, 0]])
    model = transformers.T5EncoderModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state.numpy()
    assert np.allclose(states[mask], expected[mask], atol=1e-5)


def test_models_that_are_stored_in_bfloat16_give_float32(tmp_path):
    looks, reads = saved_vision(tmp_path / "looks", "dinov2"), saved_t5(tmp_path / "reads")
    vision, text = HubVisionConfig(source=str(looks)), HubTextConfig(source=str(reads))
    exact = vision.build().encode(images())[0], text.build().encode(["put the cube"])[0]
    for folder, kind in ((looks, transformers.Dinov2Model), (reads, transformers.T5ForConditionalGeneration)):
        kind.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    rounded = vision.build().encode(images())[0], text.build().encode(["put the cube"])[0]
    for found, expected in zip(rounded, exact, strict=True):
        assert found.dtype == np.float32 and np.allclose(found, expected, atol=0.1)
        assert not np.array_equal(found, expected)


def test_what_a_hub_model_computes_with_lies_where_it_computes(tmp_path, monkeypatch):
    """The meta device refuses what lies elsewhere, as a GPU does, and gives nothing back."""
    looks, reads = saved_vision(tmp_path / "looks", "siglip"), saved_t5(tmp_path / "reads")
    vision = HubVisionConfig(source=str(looks)).build()
    assert vision.module() is not vision.module()  # which a caller may move
    for module in ("policies.vision.hub", "policies.language.hub"):
        monkeypatch.setattr(f"{module}.gpu_or_cpu", lambda: torch.device("meta"))
    moved, text = HubVisionConfig(source=str(looks)).build(), HubTextConfig(source=str(reads)).build()
    for given_back in (lambda: moved.encode(images()), lambda: text.encode(["put the cube"]), moved.module):
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            given_back()


# ---- what is at hand ---------------------------------------------------------------------------


def test_weights_are_known_by_their_digest(tmp_path):
    folder = saved_vision(tmp_path / "one", "clip")
    digest = sha256_of(folder / WEIGHTS)
    pinned, any_ = (HubVision(HubVisionConfig(source=str(folder), sha256=pin)) for pin in (digest, None))
    assert pinned.fingerprint == any_.fingerprint
    with pytest.raises(WeightsError, match=f"has sha256 {digest}, expected {'0' * 64}"):
        HubVision(HubVisionConfig(source=str(folder), sha256="0" * 64))
    torch.manual_seed(1)
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**TINY)).save_pretrained(folder)
    assert HubVision(HubVisionConfig(source=str(folder))).fingerprint != pinned.fingerprint


def rewritten(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_fingerprint_knows_settings_that_change_what_the_same_weights_compute(tmp_path):
    seen, words = saved_vision(tmp_path / "clip", "clip"), saved_t5(tmp_path / "t5")
    made = HubVision(HubVisionConfig(source=str(seen))), HubText(HubTextConfig(source=str(words)))

    def known() -> list[bool]:
        again = HubVision(HubVisionConfig(source=str(seen))), HubText(HubTextConfig(source=str(words)))
        assert [one.earlier_fingerprint for one in again] == [one.earlier_fingerprint for one in made]
        return [one.fingerprint == before.fingerprint for one, before in zip(again, made, strict=True)]

    for folder in (seen, words):
        rewritten(folder / "config.json", transformers_version="9.9", _name_or_path="elsewhere")
    assert known() == [True, True]
    rewritten(seen / PREPROCESSOR, image_mean=[0.1, 0.4, 0.3])
    assert known() == [False, True]
    rewritten(seen / PREPROCESSOR, image_mean=MEAN)
    rewritten(seen / "config.json", layer_norm_eps=0.1)
    rewritten(words / "config.json", relative_attention_max_distance=7)
    assert known() == [False, False]


def test_a_checkpoint_that_was_recorded_without_the_settings_is_played_and_merged(tmp_path):
    seen, words = saved_vision(tmp_path / "clip", "clip"), saved_t5(tmp_path / "t5")
    config = VlaConfig(
        chunk=4, execute=2, vision=HubVisionConfig(source=str(seen)), language=HubTextConfig(source=str(words)),
        fusion=TransformerConfig(width=32),
    )  # fmt: skip
    policy = config.build(SPEC)
    processor = ObservationProcessor(policy)
    files = (seen / WEIGHTS,), (words / WEIGHTS, words / "tokenizer.json")
    made_of = [" ".join([*map(sha256_of, one), "32"]) for one in files]  # side of images, longest sentence
    vision, text = (hashlib.sha256(one.encode()).hexdigest()[:12] for one in made_of)
    assert processor.encoders != processor.earlier_encoders == {"vision": vision, "text": text}
    every = {"new": processor.encoders, "old": {"vision": vision, "text": text}, "other": {"vision": "0", "text": text}}
    for name, encoders in every.items():
        checkpoint.save(tmp_path / name, policy, about(**encoders))
    for name in ("new", "old"):
        check_encoders(name, checkpoint.load(tmp_path / name)[1], processor)
    with pytest.raises(UserError, match="other was made with vision encoder 0, here is"):
        check_encoders("other", checkpoint.load(tmp_path / "other")[1], processor)
    merge(MergeConfig((f"{tmp_path}/old", f"{tmp_path}/new"), (0.5, 0.5), str(tmp_path / "merged")))
    with pytest.raises(UserError, match="were made with other frozen encoders"):
        merge(MergeConfig((f"{tmp_path}/other", f"{tmp_path}/new"), (0.5, 0.5), str(tmp_path / "not")))


def test_weights_that_are_missing_are_never_random(tmp_path):
    folder = saved_vision(tmp_path, "clip")
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "num_hidden_layers": 3}))
    with pytest.raises(WeightsError, match="lacks weights of a CLIPVisionModel: .*layers.2"):
        HubVision(HubVisionConfig(source=str(folder)))
    (folder / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=f"{WEIGHTS} does not exist"):
        HubVision(HubVisionConfig(source=str(folder)))


def test_a_model_of_another_kind_is_one_line(tmp_path):
    folder = saved_t5(tmp_path)
    with pytest.raises(
        WeightsError, match="holds a t5, expected one of clip_vision_model, dinov2, .*siglip_vision_model"
    ):
        HubVision(HubVisionConfig(source=str(folder)))
    with pytest.raises(WeightsError, match="expected t5 or bert and tokenizer.json"):
        HubText(HubTextConfig(source=str(saved_vision(tmp_path / "other", "clip"))))
    (tmp_path / "other" / PREPROCESSOR).write_text("{}")
    with pytest.raises(WeightsError, match="does not say how images are scaled"):
        HubVision(HubVisionConfig(source=str(tmp_path / "other")))


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        WeightsError, match="nobody/nothing is not in the hub's cache and cannot be downloaded"
    ) as caught:
        hub_folder("nobody/nothing", None)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="not a folder/nor a name/of the hub is neither"):
        hub_folder("not a folder/nor a name/of the hub", None)


def test_what_the_cache_has_is_not_downloaded_again(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    held = tmp_path / "models--some--model" / "snapshots" / commit
    held.mkdir(parents=True)
    (held.parent.parent / "refs").mkdir()
    (held.parent.parent / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (held / WEIGHTS).touch()
    assert hub_folder("some/model", None) == held


@pytest.mark.parametrize(
    "files", [["config.json"], ["model.safetensors.index.json", "model-00001-of-00002.safetensors"]]
)
def test_a_download_that_was_interrupted_goes_on(tmp_path, monkeypatch, files):
    shards = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    for name in files:
        (tmp_path / name).write_text(json.dumps(shards))
    asked = []

    def snapshot_download(source, local_files_only=False, **_):
        asked.append(local_files_only)
        return str(tmp_path if local_files_only else tmp_path / "whole")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert hub_folder("some/model", None) == tmp_path / "whole" and asked == [True, False]
    (tmp_path / "model-00002-of-00002.safetensors" if len(files) == 2 else tmp_path / WEIGHTS).touch()
    assert hub_folder("some/model", None) == tmp_path


def test_size_base_is_a_line_of_the_command():
    config = load("train", TrainConfig, ["policy=rdt", "policy/size=base", "policy.language.max_tokens=20"]).policy
    assert config.vision == HubVisionConfig(source="google/siglip-so400m-patch14-384")
    assert config.language == HubTextConfig(max_tokens=20) and config.head.sample_steps == 5
    assert load("train", TrainConfig, ["policy=rdt"]).policy.vision.name == "efficientnet"
