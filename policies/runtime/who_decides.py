"""Which of a checkpoint, its exported graph and a server decides; what does not fit together, before one is opened."""

from pathlib import Path
from typing import Any, Protocol

from policies.core.planner import NoPlanner, PlannerConfig
from policies.runtime.chunk_agent import Timing
from sim.core.errors import UserError


class Choices(Protocol):
    """Options of a program that plays a policy."""

    @property
    def server(self) -> str | None: ...
    @property
    def graph(self) -> str | None: ...
    @property
    def indicator(self) -> str: ...
    @property
    def guidance(self) -> float | None: ...
    @property
    def watch(self) -> bool: ...
    @property
    def planner(self) -> PlannerConfig: ...
    @property
    def timing(self) -> Timing: ...


def check_who_decides(chosen: Choices) -> None:
    """UserError where a server decides and what is its own to choose is given too, where two are to decide, where what
    needs the policy's own network is given beside another, and where there is no such graph."""
    server, graph, timing = chosen.server, chosen.graph, chosen.timing
    if server and (chosen.indicator != "positive" or chosen.guidance is not None):
        raise UserError(f"server={server} decides: indicator and guidance are options of policies.serve there")
    if server and chosen.watch:
        raise UserError(f"server={server} and watch=true, expected a checkpoint: the watch sees what its policy does")
    if server and chosen.planner.name != NoPlanner.name:
        raise UserError(
            f"server={server} and planner={chosen.planner.name}, expected a checkpoint: "
            "a plan is judged by what it sees"
        )
    if graph and (server or chosen.watch):
        raise UserError(f"graph={graph} {f'server={server}' if server else 'watch=true'}: one of them decides")
    if (server or graph) and timing.look_hz:
        raise UserError(
            f"look_hz={timing.look_hz:g} {f'server={server}' if server else f'graph={graph}'}: it decides on images; "
            "expected a checkpoint, whose looks and decisions are apart"
        )
    if timing.look_delay_s and not timing.look_hz:
        raise UserError(f"look_delay_s={timing.look_delay_s:g} needs look_hz, looks a second beside decisions")
    if graph and not Path(graph).is_file():
        raise UserError(f"graph={graph}: no such file; policies.export writes one")


def acting_weights(decides: str, agent: Any) -> dict[str, str]:
    """Return the checksum of the weights that act as provenance has it, {} where it is not known.

    decides: a checkpoint's directory, or a server's address; agent: of it.
    """
    from policies.core.weight_files import SHA256  # torch: a driver's machine may read options without
    from policies.models import checkpoint

    served = getattr(agent, "served", None)
    weights = served.weights if served else checkpoint.card(decides).get(SHA256)
    return {SHA256: weights} if weights else {}
