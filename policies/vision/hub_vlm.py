"""Frozen vision-language models of the Hugging Face hub, which read images and instruction together.

SmolVLM, PaliGemma, Qwen-VL by transformers' own classes, in the prompt that each was trained on. What their language
model makes of an image's tokens is that camera's map, what it makes of the tokens behind the images are the words: so
every fusion that reads one map and words reads it. Large and slow without a GPU; a frame of two cameras takes 0.3 MB
(SmolVLM2), 0.5 MB (Qwen-VL) or 2.3 MB (PaliGemma) in the feature cache.

Shapes: N looks, V cameras, s pixels and n cells a side, T tokens, L places for words, W width of a state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from policies.core.parts import JointConfig, ReadBeside
from policies.core.registry import VISION
from policies.language.states import InstructionError, check_length, check_sentence, load_tokenizer
from policies.pretrained.hub import (
    HubModel,
    KnownByFiles,
    checked_digest,
    gpu_or_cpu,
    image_settings,
    load_network,
    settings_digest,
    whole_config,
)
from policies.pretrained.weights import WeightsError, sha256_of
from sim.core.errors import UserError
from sim.core.options import at_least, option

TOKENIZER = "tokenizer.json"
BATCH = 8
QWEN_CELLS = 8  # a side: Qwen-VL takes images of any size, these 64 tokens are as many as SmolVLM has


# ---- what the classes differ in ----------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """How models of one class are told what they see."""

    kind: str  # transformers' class
    prompt: str
    image: str  # in the prompt, of each camera
    cell: str  # token that stands for one cell in `image`
    size: Callable[[Any], tuple[int, int]]  # of a configuration: s and n
    inputs: Callable[[Tensor, Tensor, Any], dict[str, Tensor]]
    """Normalized pixels (N, V, 3, s, s), which tokens are cells (N, T) bool, configuration -> the class' own inputs."""


def _smolvlm_size(config: Any) -> tuple[int, int]:
    side = config.vision_config.image_size
    return side, side // config.vision_config.patch_size // config.scale_factor


def _paligemma_size(config: Any) -> tuple[int, int]:
    side = config.vision_config.image_size
    return side, side // config.vision_config.patch_size


def _qwen_size(config: Any) -> tuple[int, int]:
    return QWEN_CELLS * config.vision_config.spatial_merge_size * config.vision_config.patch_size, QWEN_CELLS


def _smolvlm_inputs(pixels: Tensor, cells: Tensor, config: Any) -> dict[str, Tensor]:
    return {"pixel_values": pixels.contiguous()}


def _paligemma_inputs(pixels: Tensor, cells: Tensor, config: Any) -> dict[str, Tensor]:
    """Of type 0: every token sees all others."""
    return {"pixel_values": pixels.flatten(0, 1), "token_type_ids": torch.zeros_like(cells, dtype=torch.long)}


def _qwen_inputs(pixels: Tensor, cells: Tensor, config: Any) -> dict[str, Tensor]:
    """Patches as rows, those that become one cell side by side, each twice as if in two frames of a video."""
    vision = config.vision_config
    patch, merge, side = vision.patch_size, vision.spatial_merge_size, pixels.shape[-1] // vision.patch_size
    x = pixels.flatten(0, 1).unflatten(-1, (-1, merge, patch)).unflatten(2, (-1, merge, patch))
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # (N V, rows, columns, merge, merge, colour, patch, patch)
    frames = x.unsqueeze(6).repeat_interleave(vision.temporal_patch_size, 6)
    grid = torch.tensor([[1, side, side]], device=pixels.device).repeat(len(x), 1)
    return {
        "pixel_values": frames.flatten(5).flatten(0, 4),
        "image_grid_thw": grid,
        "mm_token_type_ids": cells.int(),
    }


SMOLVLM = "<|im_start|>User:{images}{instruction}<end_of_utterance>\nAssistant:"
SMOLVLM_IMAGE = "<fake_token_around_image><global-img>{cells}<fake_token_around_image>"
QWEN = "<|im_start|>user\n{images}{instruction}<|im_end|>\n<|im_start|>assistant\n"
QWEN_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
QWEN_IMAGE, QWEN_CELL = "<|vision_start|>{cells}<|vision_end|>", "<|image_pad|>"
FAMILIES = {
    "smolvlm": Family(
        "SmolVLMForConditionalGeneration", SMOLVLM, SMOLVLM_IMAGE, "<image>", _smolvlm_size, _smolvlm_inputs
    ),
    "idefics3": Family(
        "Idefics3ForConditionalGeneration", SMOLVLM, SMOLVLM_IMAGE, "<image>", _smolvlm_size, _smolvlm_inputs
    ),
    "paligemma": Family(
        "PaliGemmaForConditionalGeneration", "{images}<bos>{instruction}\n", "{cells}", "<image>", _paligemma_size,
        _paligemma_inputs,
    ),
    "qwen2_5_vl": Family(
        "Qwen2_5_VLForConditionalGeneration", QWEN_SYSTEM + QWEN, QWEN_IMAGE, QWEN_CELL, _qwen_size, _qwen_inputs
    ),
    "qwen3_vl": Family("Qwen3VLForConditionalGeneration", QWEN, QWEN_IMAGE, QWEN_CELL, _qwen_size, _qwen_inputs),
}  # fmt: skip


# ---- the encoder -------------------------------------------------------------------------------


@VISION.register("hub_vlm")
@dataclass(frozen=True)
class HubVlmConfig(HubModel, JointConfig):
    """Which model, and how far it is read."""

    name: str = "hub_vlm"
    source: str = option("HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "a model of the hub, or a folder that holds one")
    layers: int | None = option(None, "of its language model that are computed; null: all", at_least(1))
    max_tokens: int = option(48, "behind the images: an instruction and what frames it", at_least(3))

    @property
    def channels(self) -> tuple[int, ...]:
        return (whole_config(self.folder).get_text_config().hidden_size,)

    @property
    def words(self) -> ReadBeside:
        return ReadBeside(self.name, self.channels[0])

    def build(self, threads: int = 1) -> "HubVlm":
        return HubVlm(self)


def load_model(folder: Path, kind: str, layers: int | None) -> Any:
    """Return a model without its last maps to words, of its language model's layers the first.

    UserError when it has fewer.
    """
    model = load_network(folder, kind).model
    language = model.text_model if hasattr(model, "text_model") else model.language_model
    if layers is not None:
        if layers > len(language.layers):
            raise UserError(f"policy.vision.layers={layers}, expected at most {len(language.layers)}, as {folder} has")
        language.layers = language.layers[:layers]
    return model


class HubVlm(KnownByFiles):
    """States of images and instructions by a model that is never trained further, on a GPU where there is one."""

    def __init__(self, config: HubVlmConfig):
        """WeightsError when the model is missing, of no known class or not the pinned one."""
        folder, self.max_tokens = config.folder, config.max_tokens
        self._config, digest = whole_config(folder), checked_digest(folder, config.sha256)
        family = FAMILIES.get(self._config.model_type)
        if family is None or not (folder / TOKENIZER).is_file():
            expected = f"one of {', '.join(FAMILIES)} with {TOKENIZER}"
            raise WeightsError(f"{folder} holds a {self._config.model_type}, expected {expected}")
        self._family, self._tokenizer = family, load_tokenizer(folder / TOKENIZER)
        cell = self._tokenizer.token_to_id(family.cell)
        if cell is None:
            raise WeightsError(f"{folder / TOKENIZER} has no token {family.cell!r}")
        self._cell: int = cell
        self._side, self._cells = family.size(self._config)
        self._device = gpu_or_cpu()
        self._model = load_model(folder, family.kind, config.layers).to(self._device)
        self._colours = [
            torch.tensor(image_settings(folder)[name]).view(3, 1, 1) for name in ("image_mean", "image_std")
        ]
        self._identity = f"{digest} {sha256_of(folder / TOKENIZER)} {config.layers} {config.max_tokens} {self._side}"
        self._settings = settings_digest(folder, image_settings(folder))

    def check(self, instruction: str) -> None:
        """InstructionError for one that is empty, has more than L tokens or holds one that stands for an image."""
        self._tokens(instruction, 1)

    def read(
        self, images: Mapping[str, np.ndarray], instructions: Sequence[str]
    ) -> tuple[dict[str, tuple[np.ndarray, ...]], np.ndarray, np.ndarray]:
        """Return each camera's map (N, W, n, n), words (N, L, W), zero at unused places, and their mask (N, L).

        images: camera -> uint8 RGB (N, H, W, 3). Raises as `check`.
        """
        rows, width = len(instructions), self._config.get_text_config().hidden_size
        maps = {camera: np.empty((rows, width, self._cells, self._cells), np.float32) for camera in images}
        words, mask = np.zeros((rows, self.max_tokens, width), np.float32), np.zeros((rows, self.max_tokens), bool)
        for part in _alike(instructions):  # of one length: nothing is padded
            cells, behind = self._states([shown[part] for shown in images.values()], instructions[int(part[0])])
            for found, one in zip(maps.values(), cells, strict=True):
                found[part] = one
            words[part, : behind.shape[1]], mask[part, : behind.shape[1]] = behind, True
        return {camera: (found,) for camera, found in maps.items()}, words, mask

    @torch.inference_mode()
    def _states(self, images: Sequence[np.ndarray], instruction: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells (V, N, W, n, n) of V cameras' images (N, H, W, 3), and the words' states."""
        pixels = torch.stack([self._pixels(one) for one in images], 1).to(self._device, self._model.dtype)
        ids = torch.tensor(self._tokens(instruction, len(images)), device=self._device).expand(len(pixels), -1)
        cells = ids == self._cell
        given = self._family.inputs(pixels, cells, self._config)
        found = self._model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **given)
        states = found.last_hidden_state.float().cpu()
        places = cells[0].nonzero()[:, 0].cpu()
        seen = states[:, places].unflatten(1, (len(images), self._cells, self._cells)).permute(1, 0, 4, 2, 3)
        return seen.numpy(), states[:, places[-1] + 1 :].numpy()

    def _pixels(self, images: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> normalized (N, 3, s, s)."""
        x = torch.from_numpy(np.require(images, requirements="W")).permute(0, 3, 1, 2).float() / 255.0
        x = F.interpolate(x, (self._side, self._side), mode="bicubic", antialias=True).clamp(0.0, 1.0)
        mean, std = self._colours
        return (x - mean) / std

    def _tokens(self, instruction: str, cameras: int) -> list[int]:
        """Return the prompt's tokens. Raises as `check`."""
        check_sentence(instruction)
        family, cells = self._family, self._cells**2
        images = family.image.replace("{cells}", family.cell * cells) * cameras
        prompt = family.prompt.replace("{images}", images).replace("{instruction}", instruction)
        ids = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        if ids.count(self._cell) != cells * cameras:
            raise InstructionError(f"instruction {instruction!r} holds {family.cell!r}, which stands for an image")
        check_length(instruction, ids[::-1].index(self._cell), self.max_tokens)
        return ids


def _alike(instructions: Sequence[str]) -> list[np.ndarray]:
    """Return the rows of each instruction, at most BATCH together."""
    texts = np.array(instructions)
    rows = [np.flatnonzero(texts == one) for one in np.unique(texts)]
    return [part for one in rows for part in np.split(one, range(BATCH, len(one), BATCH))]
