"""Distillation: a policy learns the chunks that another one decides, instead of the recorded ones.

After Kim & Rush 2016, "Sequence-Level Knowledge Distillation": the student learns whole outputs of the teacher by its
own loss, so that any head teaches any other. Departures: the outputs are drawn anew for every sample, not the
likeliest, as there are several right ways to act; what the teacher decides with guidance is learned as it is, so that
the student is played without (as in Meng et al. 2023, "On Distillation of Guided Diffusion Models", by another loss).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from policies.core.inputs import Batch
from policies.core.interface import Policy
from policies.core.weight_files import SHA256, as_bytes
from policies.evaluation.leakage import splits_of
from policies.models import checkpoint, chunk_critic, companion, noise_actor
from policies.models.checkpoint import CheckpointMetadata
from policies.processing.observation import ObservationProcessor
from policies.training.trainer import Loss
from sim.core.errors import UserError


@dataclass(frozen=True)
class Teacher:
    """A trained policy, and how it is played."""

    policy: Policy
    metadata: CheckpointMetadata

    @property
    def fingerprint(self) -> str:
        """A checksum of its weights."""
        return as_bytes(self.policy.state_dict())[1][SHA256]

    def loss(self, student: Policy) -> Loss:
        """Return the student's loss of the chunks that the teacher decides at the looks of a batch."""

        def of_chunks(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            teacher = self.policy.to(batch.actions.device)
            decided = teacher.act(batch.inputs, generator, guidance=self.metadata.guidance).chunk
            return student.loss(replace(batch, actions=decided, valid=torch.ones_like(batch.valid)), generator)

        return of_chunks

    def learned_from(self, start: Mapping) -> dict:
        """Return the provenance `start` with the episodes and splits that the teacher learned from."""
        taught = self.metadata.provenance
        splits = [split for one in (start, taught) if one for split in splits_of(one)]
        return {**start, "seeds": [*start.get("seeds", []), *taught.get("seeds", [])], "splits": splits}


def load_teacher(root: str, student: Policy) -> Teacher:
    """Return the policy of a checkpoint. UserError unless it decides chunks of the same steps on the same inputs."""
    for name in (chunk_critic.NAME, noise_actor.NAME):
        if companion.is_there(root, name):
            raise UserError(f"teacher={root} has a {name} beside it, by which it acts otherwise; expected it alone")
    teacher = Teacher(*checkpoint.load(Path(root)))
    found, expected = _takes(teacher.policy), _takes(student)
    for name, value in expected.items():
        if found[name] != value:
            raise UserError(
                f"teacher={root} has {name} {found[name]}, expected {value}, as the policy that learns from it"
            )
    return teacher


def _takes(policy: Policy) -> dict[str, Any]:
    """Return what makes a policy's inputs and chunks of a recorded frame."""
    processor = ObservationProcessor(policy)
    return {
        "spec": policy.spec,
        "policy.chunk": policy.config.chunk,
        "needs": policy.needs,
        "encoders": processor.encoders,
        "frozen part": processor.fingerprint,
        "policy.look_age": policy.look_age,
        "policy.remember_target": policy.remembers_target,
        "policy.memory": policy.memory,
        "steps between remembered looks": policy.memory and policy.config.execute,
        "given steps": policy.given_steps,
    }
