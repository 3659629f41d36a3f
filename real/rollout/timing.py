"""How long decisions took in a rollout, for results.json and for people."""

import logging

from policies.runtime.latency import latency
from sim.episode.loop import Agent

_log = logging.getLogger(__name__)


def timing_of(agent: Agent) -> dict:
    """Return how long the agent's decisions took since it was loaded, and how many steps they were late.

    {} of one that does not decide chunks, or has decided none.
    """
    decision_s, server_s = getattr(agent, "decision_s", []), getattr(agent, "server_s", [])
    if not decision_s:
        return {}
    looks = getattr(agent, "looks", None)
    beside = {"looks": looks.row()} if looks else {}
    return {"latency": latency(decision_s, server_s), "late_steps": getattr(agent, "late_steps", 0), **beside}


def log_timing(content: dict) -> None:
    """Log how long decisions took."""
    for name, one in content.get("latency", {}).items():
        if one["n"]:
            _log.info(
                "%s of %d: p50 %.1f ms, p99 %.1f ms", name.replace("_", " "), one["n"], one["p50_ms"], one["p99_ms"]
            )
    if looks := content.get("looks"):
        _log.info(
            "looks of %d decisions: %.0f ms old, p99 %.0f ms; %d were awaited",
            looks["age"]["n"], looks["age"]["p50_ms"], looks["age"]["p99_ms"], looks["awaited"],
        )  # fmt: skip
    if late := content.get("late_steps"):
        _log.warning("%d steps were played or held because a decision took longer than inference_delay_s", late)
