"""Times of the frozen encoders: EfficientNet through onnxruntime and beside it in eager torch, MiniLM."""

import time
from collections.abc import Callable

import numpy as np
import torch
from rich.table import Table

from policies.language.minilm import FrozenText
from policies.vision.efficientnet import FrozenVision
from policies.vision.sources import package_trunk, package_weights

SIZES_PX = (96, 128)
THREADS = (1, 2)
BATCHES = (1, 2, 32)


def median_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """Return the median wall time of `call` in milliseconds, after two calls that are not counted."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(times[2:]))


def vision_ms(threads: int, size_px: int, batch: int) -> tuple[float, float]:
    """Return milliseconds an image through onnxruntime and through eager torch."""
    images = np.random.default_rng(0).integers(0, 256, (batch, size_px, size_px, 3), dtype=np.uint8)
    vision = FrozenVision(threads=threads)
    trunk = package_trunk(package_weights())
    tensor = torch.from_numpy(images)
    torch.set_num_threads(threads)
    with torch.inference_mode():
        eager = median_ms(lambda: trunk(tensor))
    return median_ms(lambda: vision.encode(images)) / batch, eager / batch


def text_ms(threads: int) -> float:
    """Return milliseconds for one instruction that was not seen before."""
    torch.set_num_threads(threads)
    text = FrozenText()
    numbers = iter(range(1000))
    return median_ms(lambda: text.encode([f"put the red cube on plate {next(numbers)}"]))


def encoder_table() -> tuple[Table, list[dict]]:
    """Measure every setting; return the table and its rows."""
    table = Table("encoder", "threads", "pixels", "batch", "ms", "eager torch, ms")
    rows = []
    for threads in THREADS:
        for size_px in SIZES_PX:
            for batch in BATCHES:
                ours, eager = vision_ms(threads, size_px, batch)
                row = {"threads": threads, "pixels": size_px, "batch": batch, "ms": ours, "eager_ms": eager}
                rows.append({"encoder": "image", **row})
                table.add_row("image", *map(str, (threads, size_px, batch)), f"{ours:.2f}", f"{eager:.2f}")
        ms = text_ms(threads)
        rows.append({"encoder": "new instruction", "threads": threads, "ms": ms})
        table.add_row("new instruction", str(threads), "-", "1", f"{ms:.1f}", "-")
    return table, rows
