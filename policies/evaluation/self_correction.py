"""What results.json holds of a policy that watches itself."""

from collections.abc import Sequence
from dataclasses import asdict

from policies.runtime.chunk_agent import ChunkAgent
from policies.runtime.self_correction import HELP, SelfCorrectingAgent


def row(agent: ChunkAgent) -> dict:
    """Return an episode's alarms; {} of an agent that does not watch itself."""
    return {"alarms": [asdict(one) for one in agent.alarms]} if isinstance(agent, SelfCorrectingAgent) else {}


def summary(episodes: Sequence[dict]) -> dict:
    """Return in how many episodes there was an alarm, in how many of those it succeeded all the same, and in how many
    help was asked for; {} where the policy did not watch itself."""
    watched = [one for one in episodes if "alarms" in one]
    if not watched:
        return {}
    alarmed = [one for one in watched if one["alarms"]]
    return {
        "alarmed": len(alarmed),
        "alarmed_successes": sum(one["success"] for one in alarmed),
        "asked_for_help": sum(one["alarms"][-1]["response"] == HELP for one in alarmed),
    }
