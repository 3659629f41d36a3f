"""Which of a checkpoint, its exported graph and a server decides; what does not fit together, before one is opened."""

from pathlib import Path

from policies.core.planner import NoPlanner
from policies.runtime.chunk_agent import Timing
from sim.core.errors import UserError


def check_who_decides(
    server: str | None,
    graph: str | None,
    indicator: str,
    guidance: float | None,
    timing: Timing,
    *,
    watch: bool,
    planner: str = NoPlanner.name,
) -> None:
    """UserError where a server decides and what is its own to choose is given too, where two are to decide, where what
    needs the policy's own network is given beside another, and where there is no such graph."""
    if server and (indicator != "positive" or guidance is not None):
        raise UserError(f"server={server} decides: indicator and guidance are options of policies.serve there")
    if server and watch:
        raise UserError(f"server={server} and watch=true, expected a checkpoint: the watch sees what its policy does")
    if server and planner != NoPlanner.name:
        raise UserError(
            f"server={server} and planner={planner}, expected a checkpoint: a plan is judged by what it sees"
        )
    if graph and (server or watch):
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
