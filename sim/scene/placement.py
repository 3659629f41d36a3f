"""Free places on the table, colours and shapes of what stands there, drawn at random."""

from collections.abc import Callable, Sequence

import numpy as np

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.08, 0.08),
    "green": (0.10, 0.60, 0.15),
    "blue": (0.10, 0.22, 0.80),
    "yellow": (0.90, 0.78, 0.08),
    "purple": (0.48, 0.14, 0.62),
    "white": (0.90, 0.90, 0.90),
}
REACH_M = (0.25, 0.455)  # radius from the base in which a tool-down grasp exists
AREA_X_M, AREA_Y_M = (-0.45, -0.20), (-0.24, 0.24)


def draw_colours(rng: np.random.Generator, n: int) -> tuple[str, ...]:
    """Draw `n` colours, no two alike."""
    return tuple(str(colour) for colour in rng.permutation(list(COLOURS))[:n])


def draw_shapes(rng: np.random.Generator, shapes: Sequence[str], n: int) -> tuple[str, ...]:
    """Draw `n` of the shapes that objects may have; with one to choose from nothing is drawn."""
    return (shapes[0],) * n if len(shapes) == 1 else tuple(str(shape) for shape in rng.choice(list(shapes), n))


def draw_yaws(rng: np.random.Generator, n: int, most_rad: float = np.pi) -> tuple[float, ...]:
    """Draw `n` yaws, rad, within +- `most_rad`."""
    return tuple(rng.uniform(-most_rad, most_rad, n).tolist())


def within_reach(xy: np.ndarray) -> bool:
    """Return whether a tool that points down reaches (2,) m."""
    return bool(REACH_M[0] <= np.linalg.norm(xy) <= REACH_M[1])


def draw_places(
    rng: np.random.Generator,
    gaps_m: np.ndarray | Sequence[Sequence[float]],
    allowed: Sequence[Callable[[np.ndarray], bool]] | Callable[[np.ndarray], bool] = within_reach,
) -> np.ndarray:
    """Draw (n, 2) positions, m, by rejection: the i-th and j-th at least `gaps_m[i][j]` apart.

    allowed: what a position must satisfy, for all of them or one each; default: the tool reaches it.
    """
    gaps = np.asarray(gaps_m, float)
    rules = [allowed] * len(gaps) if callable(allowed) else list(allowed)
    while True:
        placed: list[np.ndarray] = []
        for i, rule in enumerate(rules):
            free = free_place(rng, placed, gaps[i, : len(placed)], rule)
            if free is None:
                break  # too crowded: begin anew
            placed.append(free)
        if len(placed) == len(gaps):
            return np.array(placed)


def free_place(
    rng: np.random.Generator, placed: Sequence[np.ndarray] | np.ndarray, gaps_m: np.ndarray,
    allowed: Callable[[np.ndarray], bool] = within_reach, draws: int = 200,
) -> np.ndarray | None:  # fmt: skip
    """Draw an allowed position (2,) m, at least `gaps_m` (n,) from those `placed` (n, 2); None after so many draws."""
    for _ in range(draws):
        xy = np.array([rng.uniform(*AREA_X_M), rng.uniform(*AREA_Y_M)])
        apart = all(np.linalg.norm(xy - p) >= g for p, g in zip(placed, gaps_m, strict=True))
        if apart and allowed(xy):
            return xy
    return None
