"""What the tests of learning share: a tiny policy, encoders that only mix numbers, a small dataset."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FPS, FR3

from policies.core.inputs import Batch, Inputs
from policies.core.parts import LanguageConfig, VisionConfig
from policies.core.registry import LANGUAGE, VISION
from policies.core.spec import PolicySpec
from policies.fusion.keypoint_fusion import KeypointFusionConfig
from policies.heads.flow import FlowConfig
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import Vla, VlaConfig
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.training.optim import OptimConfig
from policies.training.trainer import Trainer
from sim.core.contract import GROUNDING_COLUMNS, TOUCH_COLUMN, TOUCH_NAMES, TURN_COLUMNS, Observation
from sim.dataset.reader import Dataset, DatasetWriter, Episode
from sim.dataset.recorder import FLAGS, features

SIZE = (32, 32)
SPEC = PolicySpec(FR3.name, FR3.camera_names, SIZE, FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)
TEXT_WIDTH = 384
TURNS = ([0.6, 0.8, -0.28, 0.96], [0.0, 0.0, 0.6, 0.8])  # of object and target


class FakeVision:
    """Maps that are fixed random mixtures of the pixels around each place."""

    fingerprint = "fake-vision"

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._maps(images, 8, 136), self._maps(images, 16, 112)

    @staticmethod
    def _maps(images: np.ndarray, stride: int, channels: int) -> np.ndarray:
        n, height, width, _ = images.shape
        blocks = images.reshape(n, height // stride, stride, width // stride, stride, 3).mean((2, 4)) / 255
        mix = np.random.default_rng(stride).normal(size=(3, channels))
        return np.tanh(blocks @ mix).transpose(0, 3, 1, 2).astype(np.float32)


class FakeText:
    """Words as fixed random vectors."""

    fingerprint = "fake-text"

    def encode(self, sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
        words, mask = np.zeros((len(sentences), 12, TEXT_WIDTH), np.float32), np.zeros((len(sentences), 12), bool)
        for i, sentence in enumerate(sentences):
            for j, word in enumerate(sentence.split()):
                words[i, j] = np.random.default_rng(list(word.encode())).normal(size=TEXT_WIDTH)
                mask[i, j] = True
        return words, mask


@VISION.register("fake")
@dataclass(frozen=True)
class FakeVisionConfig(VisionConfig):
    name: str = "fake"
    channels = (136, 112)

    def build(self, threads: int = 1) -> FakeVision:
        return FakeVision()


@LANGUAGE.register("fake")
@dataclass(frozen=True)
class FakeTextConfig(LanguageConfig):
    name: str = "fake"
    width = TEXT_WIDTH

    def build(self) -> FakeText:
        return FakeText()


TINY = VlaConfig(
    chunk=4,
    execute=2,
    vision=FakeVisionConfig(),
    language=FakeTextConfig(),
    fusion=KeypointFusionConfig(
        channels=16, keypoints=4, keypoint_features=2, text_queries=2, camera_tokens=2, width=16
    ),
    head=FlowConfig(hidden=32, blocks=1, euler_steps=4, noise_samples=2),
)
QUICK = OptimConfig(steps=12, batch=8, learning_rate=3e-3, warmup_steps=2, threads=1, save_every=4)


def write_demos(
    root: Path, lengths=(9, 14, 11), perturbed: dict[int, tuple[int, int]] | None = None, task: str = "pick_place"
) -> Path:
    """Episodes whose joints glide and whose pictures change with them; perturbed: episode -> (first, end)."""
    schema = features(FR3, SIZE)
    with DatasetWriter(root, schema, FPS, FR3.name, {"world": {"task": task}}) as writer:
        for number, length in enumerate(lengths):
            writer.commit(make_demo(number, length, (perturbed or {}).get(number, (0, 0))))
    return root


def make_demo(number: int, length: int, perturbed: tuple[int, int] = (0, 0)) -> Episode:
    rng, steps = np.random.default_rng(number), np.arange(length)
    joints = np.array(FR3.home_rad) + 0.05 * np.outer(steps, rng.normal(size=6))
    state = np.column_stack([joints, steps < length // 2]).astype(np.float32)
    points = rng.normal(-0.3, 0.1, (len(GROUNDING_COLUMNS), 3)).astype(np.float32)
    flags = np.zeros(length, bool)
    flags[perturbed[0] : perturbed[1]] = True
    columns = {
        "observation.state": state,
        "action": np.roll(state, -1, 0),
        "requested_action": np.roll(state, -1, 0),
        "next.reward": np.full(length, -1, np.float32),
        "next.done": steps == length - 1,
        "next.success": steps == length - 1,
        **{name: np.zeros(length, bool) for name in FLAGS},
        "perturbed": flags,
        **{name: np.tile(point, (length, 1)) for name, point in zip(GROUNDING_COLUMNS, points, strict=True)},
        **{name: np.tile(np.float32(turn), (length, 1)) for name, turn in zip(TURN_COLUMNS, TURNS, strict=True)},
        TOUCH_COLUMN: np.outer(steps, np.arange(1, 1 + len(TOUCH_NAMES))).astype(np.float32),
    }
    shade = rng.integers(0, 200, (2, 1, 1, 1, 3)) + 3 * steps[None, :, None, None, None]
    images = np.broadcast_to(shade, (2, length, *SIZE, 3)).astype(np.uint8)
    sentence = ("put the red cube on the blue plate", "move the green cube to the white plate")[number % 2]
    metadata = {"seed": number, "success": True, "source": "expert"}
    return Episode(columns, sentence, dict(zip(FR3.camera_names, images, strict=True)), metadata)


def training_data(*sources: Source, policy: Vla | None = None, **options) -> TrainingData:
    processor = ObservationProcessor(policy or TINY.build(SPEC))
    return TrainingData([EpisodeTable(source) for source in sources], processor, **options)


def recorded_look(data: TrainingData, episode: int, frame: int) -> Observation:
    """A look of the first dataset as it was recorded."""
    table = data.tables[0]
    shown = {camera: recorded_images(table.dataset.root, episode, camera)[frame] for camera in SPEC.cameras}
    state = table.state[table.first[episode] + frame]
    return Observation(shown, state, table.dataset.instruction(episode), frame / FPS)


@functools.cache
def recorded_images(dataset: Path, episode: int, camera: str) -> np.ndarray:
    return Dataset(dataset).images(episode, camera)


def tiny_model(seed: int = 0, config: VlaConfig = TINY) -> Vla:
    """Random weights, the head's last layer too (it begins at zero, which hides everything)."""
    torch.manual_seed(seed)
    model = config.build(SPEC)
    torch.nn.init.normal_(model.head.out.weight, std=0.1)
    torch.nn.init.normal_(model.head.blocks[0].down.weight, std=0.1)
    return model


def random_batch(size: int = 6, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    inputs = Inputs(
        maps={camera: (normal(size, 136, 4, 4), normal(size, 112, 2, 2)) for camera in SPEC.cameras},
        words=normal(size, 5, TEXT_WIDTH),
        word_mask=torch.arange(5).expand(size, 5) < 3,
        state=normal(size, 7),
    )
    return Batch(
        inputs,
        actions=normal(size, TINY.chunk, 7),
        valid=torch.ones(size, TINY.chunk, dtype=torch.bool),
        indicator=torch.full((size,), 2),
        points=normal(size, len(GROUNDING_COLUMNS), 3),
    )


def learn(
    policy: Vla, draw: Callable[[], Batch], generator: torch.Generator, steps: int, rate: float
) -> list[dict[str, torch.Tensor]]:
    """Take steps of Adam on batches that `draw` gives; return the parts of the loss at each."""
    optimizer, found = torch.optim.Adam(policy.parameters(), rate), []
    for _ in range(steps):
        loss, parts = policy.loss(draw(), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(parts)
    return found


def about(root: Path | None = None, **changes) -> CheckpointMetadata:
    made_of = {str(root): Dataset(root).fingerprint()} if root else {}
    values = {"vision": "fake-vision", "text": "fake-text", "tasks": ("pick_place",)}
    return CheckpointMetadata(**(values | {"provenance": {"data": made_of}} | changes))


class Killed(Exception):
    pass


@contextlib.contextmanager
def killed_at(step: int) -> Iterator[None]:
    """A training inside is killed at a step, and has to be."""
    update = Trainer.update

    def dies(trainer: Trainer, batch: Batch) -> dict[str, torch.Tensor]:
        if trainer.step == step:
            raise Killed
        return update(trainer, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", dies)
        with pytest.raises(Killed):
            yield
