"""Time of the frozen encoders on this machine: `python -m policies.benchmark`.

Prints the median milliseconds per image for 1 and 2 threads, 96 and 128 pixels, batches of 1, 2
and 32, through onnxruntime and beside it in eager torch; then milliseconds per new instruction.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from policies.language.minilm import FrozenText
from policies.vision.efficientnet import FrozenVision
from policies.vision.sources import package_trunk, package_weights

SIZES_PX = (96, 128)
THREADS = (1, 2)
BATCHES = (1, 2, 32)


def median_ms(call: Callable[[], object], repeats: int = 15) -> float:
    """Median wall time of `call` in milliseconds, after two calls that are not counted."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(times[2:]))


def vision_ms(threads: int, size_px: int, batch: int) -> tuple[float, float]:
    """Milliseconds per image through onnxruntime and through eager torch."""
    images = np.random.default_rng(0).integers(0, 256, (batch, size_px, size_px, 3), dtype=np.uint8)
    vision = FrozenVision(threads=threads)
    trunk = package_trunk(package_weights())
    tensor = torch.from_numpy(images)
    torch.set_num_threads(threads)
    with torch.inference_mode():
        eager = median_ms(lambda: trunk(tensor))
    return median_ms(lambda: vision.encode(images)) / batch, eager / batch


def text_ms(threads: int) -> float:
    """Milliseconds for one instruction that was not seen before."""
    torch.set_num_threads(threads)
    text = FrozenText()
    numbers = iter(range(1000))
    return median_ms(lambda: text.encode([f"put the red cube on plate {next(numbers)}"]))


def main() -> None:
    print("vision, ms per image: threads  pixels  batch  onnxruntime  eager torch")
    for threads in THREADS:
        for size_px in SIZES_PX:
            for batch in BATCHES:
                ours, eager = vision_ms(threads, size_px, batch)
                print(f"{threads:28d} {size_px:7d} {batch:6d} {ours:12.2f} {eager:12.2f}")
    for threads in THREADS:
        print(f"text, {threads} threads: {text_ms(threads):.1f} ms per new instruction")


if __name__ == "__main__":
    main()
