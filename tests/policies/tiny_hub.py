"""Tiny random models of the hub's own classes, with the files that the hub has beside them."""

import functools
import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

SPECIAL = [
    "<pad>", "<bos>", "<eos>", "<unk>", "<image>", "<fake_token_around_image>", "<global-img>", "<|im_start|>",
    "<end_of_utterance>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
WORDS = [" ", "\n", ":", ".", "User", "Assistant", "user", "assistant", "system", "You", "are", "a", "helpful", "put",
         "the", "red", "cube", "on", "blue", "plate"]  # fmt: skip
IDS = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
MEAN, STD = [0.5, 0.4, 0.3], [0.5, 0.25, 0.2]
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(IDS), "pad_token_id": 0,
}  # fmt: skip
LOOK = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
QWEN_LOOK = {
    "depth": 2, "hidden_size": 32, "intermediate_size": 40, "num_heads": 4, "out_hidden_size": 32, "patch_size": 4,
    "spatial_merge_size": 2, "temporal_patch_size": 2,
}  # fmt: skip
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
SIDES = {"smolvlm": (32, 4), "idefics3": (32, 4), "paligemma": (16, 4), "qwen2_5_vl": (64, 8), "qwen3_vl": (64, 8)}


def configuration(kind: str):
    import transformers

    idefics = {
        "text_config": {"model_type": "llama", **TEXT},
        "vision_config": {**LOOK, "image_size": 32, "patch_size": 4},
        "scale_factor": 2, "image_token_id": IDS["<image>"], "pad_token_id": 0,
    }  # fmt: skip
    siglip = {"model_type": "siglip_vision_model", **LOOK, "image_size": 16, "patch_size": 4, "vision_use_head": False}
    gemma = {"text_config": {"model_type": "gemma", **TEXT}, "vision_config": siglip, "projection_dim": 32}
    qwen = {
        "image_token_id": IDS["<|image_pad|>"], "video_token_id": IDS["<|video_pad|>"],
        "vision_start_token_id": IDS["<|vision_start|>"], "vision_end_token_id": IDS["<|vision_end|>"],
        "text_config": {**TEXT, "rope_parameters": ROPE, "rope_scaling": ROPE},
    }  # fmt: skip
    if kind in ("smolvlm", "idefics3"):
        return {"smolvlm": transformers.SmolVLMConfig, "idefics3": transformers.Idefics3Config}[kind](**idefics)
    if kind == "paligemma":
        return transformers.PaliGemmaConfig(**gemma, image_token_id=IDS["<image>"], image_token_index=IDS["<image>"])
    if kind == "qwen2_5_vl":
        look = {**QWEN_LOOK, "window_size": 32, "fullatt_block_indexes": [1]}
        return transformers.Qwen2_5_VLConfig(**qwen, vision_config=look)
    look = {**QWEN_LOOK, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    return transformers.Qwen3VLConfig(**qwen, vision_config=look)


def tokenizer() -> Tokenizer:
    """Return one that keeps spaces and ends of lines, as byte-pair tokenizers do."""
    made = Tokenizer(models.WordLevel(IDS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s|\w+|[^\w\s]"), "isolated")
    made.add_special_tokens(SPECIAL)
    return made


def saved_vlm(folder: Path, kind: str, **options) -> Path:
    """Save a model of a class of `SIDES`."""
    import transformers

    from policies.vision.hub_vlm import FAMILIES

    torch.manual_seed(0)
    model = getattr(transformers, FAMILIES[kind].kind)(configuration(kind))
    for name, weights in model.named_parameters():  # random ones of the classes are too small to tell layers apart
        if "norm" not in name:
            torch.nn.init.normal_(weights, std=0.15)
    model.save_pretrained(folder, **options)
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder


def saved_patches(folder: Path, kind: str) -> Path:
    """Save a vision transformer: 4x4 cells of an image of 32 pixels."""
    import transformers

    torch.manual_seed(0)
    sizes = {**LOOK, "image_size": 32, "patch_size": 8}
    if kind == "siglip":
        text = {**LOOK, "vocab_size": 20, "max_position_embeddings": 8}
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=sizes))
    elif kind == "clip":
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes))
    elif kind == "dinov2":
        model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes))
    else:
        model = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**sizes))
    model.save_pretrained(folder)
    content = {"size": {"height": 32, "width": 32}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    return folder


def saved_t5(folder: Path) -> Path:
    """Save an encoder and decoder of text."""
    import transformers

    torch.manual_seed(0)
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3, "vocab_size": len(IDS)}
    transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)).save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def of_name(source: str, root: Path) -> str:
    """Return the folder of a tiny model of the class that a name of the hub stands for."""
    kinds = {"SmolVLM2": "smolvlm", "paligemma": "paligemma", "Qwen2.5-VL": "qwen2_5_vl", "Qwen3-VL": "qwen3_vl"}
    looks = {"dinov2-with": "dinov2_with_registers", "dinov2": "dinov2", "siglip": "siglip", "clip": "clip"}
    make = {part: functools.partial(saved_vlm, kind=kind) for part, kind in kinds.items()}
    make |= {part: functools.partial(saved_patches, kind=kind) for part, kind in looks.items()} | {"t5": saved_t5}
    part = next(part for part in make if part in source)
    folder = root / part
    return str(folder if folder.is_dir() else make[part](folder))
