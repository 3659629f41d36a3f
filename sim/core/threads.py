"""How long OpenMP's threads wait for each other by spinning, chosen before torch loads libgomp.

By default a thread spins 300 000 turns before it sleeps (libgomp's manual, GOMP_SPINCOUNT), and where other programs
are busy it holds the core that the awaited thread would run on. A thread that sleeps at once (OMP_WAIT_POLICY=PASSIVE)
has to be woken at each of the many barriers of a training step, on an idle machine too.
"""

import os

TURNS = 20_000  # as fast as the default alone, among the least of six beside two spinning processes: EXPERIMENTS.md


def spin_briefly() -> None:
    """Let threads of this process and its children spin TURNS before they sleep, unless the user said how they wait."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(TURNS))
