"""`python -m policies.export checkpoint=CKPT [out=FILE.onnx]`

Writes a whole policy, its image encoder included, as one ONNX graph, and compares it with torch on looks of noise.
Inputs: image.CAMERA uint8 (1, H, W, 3), state (1, D), words (1, L, W) and word_mask (1, L) of the frozen language
encoder, which an instruction passes once, commanded (1, D) of a policy that joins chunks, and noise. Output: actions
(1, T, D), absolute joint targets in rad, then the gripper.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from policies.core.indicator import INDICATORS
from sim.core.console import event
from sim.core.options import FILE, Options, at_least, one_of, option

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportConfig(Options):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy")
    out: str | None = option(None, "the file; null: CHECKPOINT/policy.onnx", FILE)
    indicator: str = option("positive", "advantage that the policy is conditioned on", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))


def main(config: ExportConfig) -> None:
    """Export."""
    from policies.export.graph import write_graph  # importing torch takes seconds; wrong options are reported before
    from policies.runtime.agent import load_decider

    decider, _ = load_decider(config.checkpoint, config.indicator, config.guidance)
    target = Path(config.out or Path(config.checkpoint) / "policy.onnx")
    difference = write_graph(decider, target)
    _log.info(
        "%s: %.1f MiB, differs from torch by %.1e rad at most", target, target.stat().st_size / 2**20, difference,
        extra=event("exported", file=str(target), difference_rad=difference),
    )  # fmt: skip
