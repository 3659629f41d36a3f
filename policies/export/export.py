"""`python -m policies.export checkpoint=CKPT [quantize=none|float16|dynamic|static] [data=DIR] [out=FILE.onnx]`

Writes a whole policy, its image encoder included, as one ONNX graph, and compares it with torch on looks of coloured
patches. Inputs: image.CAMERA uint8 (1, H, W, 3), state (1, D), words (1, L, W) and word_mask (1, L) of the frozen
language encoder, which an instruction passes once, commanded (1, D) of a policy that joins chunks, and noise.
Outputs: actions (1, T, D), absolute joint targets in rad, then the gripper; of a policy that finds the named things
their points (1, G, 3) and errors (1, G), m. `policies.evaluate graph=FILE` plays it. A head that exits early takes all
its steps in a graph, to the same chunk.
`quantize=float16` stores the weights in 16 bits and computes as before. `quantize=dynamic` writes eight-bit weights of
linear maps, `quantize=static` all weights and what flows between them, in the ranges of frames of `data=`. How far such
a graph's chunks are from torch's is printed, not bounded.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from policies.core.indicator import INDICATORS
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import FILE, Options, at_least, one_of, option

QUANTIZE = ("none", "float16", "dynamic", "static")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportConfig(Options):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy")
    out: str | None = option(None, "the file; null: CHECKPOINT/policy.onnx, or policy.QUANTIZE.onnx", FILE)
    quantize: str = option(
        "none", "weights in 16 bits, in eight, or in eight with what flows between layers", one_of(*QUANTIZE)
    )
    data: str | None = option(None, "dataset whose frames give the ranges of quantize=static")
    indicator: str = option("positive", "advantage that the policy is conditioned on", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.quantize == "static") != (self.data is not None):
            raise UserError(f"quantize={self.quantize} data={self.data}: expected data=DIR with quantize=static, alone")

    @property
    def target(self) -> Path:
        """The file that is written."""
        name = "policy.onnx" if self.quantize == "none" else f"policy.{self.quantize}.onnx"
        return Path(self.out or Path(self.checkpoint) / name)


def main(config: ExportConfig) -> None:
    """Export."""
    from policies.export.graph import write_graph  # importing torch takes seconds; wrong options are reported before
    from policies.runtime.agent import load_decider

    decider, _ = load_decider(config.checkpoint, config.indicator, config.guidance)
    target = config.target
    if config.quantize == "none":
        difference = write_graph(decider, target)
    else:
        from policies.export.quantize import write_quantized

        difference = write_quantized(decider, target, config.quantize, config.data)
    _log.info(
        "%s: %.1f MiB, differs from torch by %.1e rad at most", target, target.stat().st_size / 2**20, difference,
        extra=event("exported", file=str(target), difference_rad=difference),
    )  # fmt: skip
