"""What an evaluation asks of the policy that it plays before it begins, wherever that policy is."""

from dataclasses import dataclass

from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.remote.keys import ServerKeys
from policies.remote.metadata import ServerMetadata
from policies.runtime.agent import chunk_spec
from policies.runtime.chunk_agent import ChunkSpec, Timing, steps_of
from policies.runtime.who_decides import acting_weights
from sim.robots.robot import Robot


@dataclass(frozen=True)
class Subject:
    """A policy, by the checkpoint or the server that holds it."""

    name: str  # for messages
    chunks: ChunkSpec
    metadata: CheckpointMetadata
    weights: dict[str, str]  # as `acting_weights` returns


def of_checkpoint(root: str, robot: Robot, timing: Timing) -> Subject:
    """Return the policy of a checkpoint. UserError when it is unusable, made for another robot than this, or its
    chunks are too short for the timing."""
    policy, metadata = checkpoint.load(root)
    chunks = chunk_spec(policy)
    steps_of(chunks, timing)
    robot.check_same(policy.spec.robot, policy.spec.control_hz, root)
    return Subject(root, chunks, metadata, acting_weights(root, None))


def of_server(url: str, robot: Robot, keys: ServerKeys, timing: Timing) -> Subject:
    """Return the policy of a server. UserError as of a checkpoint, and when it does not answer."""
    from policies.remote.remote_agent import connect_agent  # needs the extra `serve`

    agent = connect_agent(url, robot, keys, timing)
    agent.close()
    return Subject(f"server={url}", agent.chunks, _metadata(agent.served), acting_weights(url, agent))


def _metadata(served: ServerMetadata | None) -> CheckpointMetadata:
    """Return what a server of this project says of the checkpoint that it serves; another's says nothing."""
    if served is None:
        return CheckpointMetadata("", "", (), {})
    trained = {"seeds": served.seeds, "splits": served.splits}
    return CheckpointMetadata("", "", served.tasks, trained, served.guidance)
