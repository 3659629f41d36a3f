"""What the card of a pretrained eye says: how far off it is on scenes that it was not trained on."""

import numpy as np
import torch

from policies.eye_training.errors import ROLES, percentiles
from policies.eye_training.mixer import Seen, mix
from policies.eye_training.turn import is_turned, turn_error_deg
from policies.fusion.eye import Eye
from policies.scenes.table import LookTable


@torch.no_grad()
def point_errors(eye: Eye, seen: Seen, table: LookTable) -> dict:
    """Return by how far the named things are missed horizontally, at an episode's first look and later, mm."""
    whole = seen[seen.whole & ~seen.absent.any(1)]
    off_mm = 1e3 * (mix(eye.mixer, whole).points_b - whole.points_b)[..., :2].norm(dim=-1).numpy()
    first = table.rows["first"][whole.row.numpy()]
    errors = {
        look: {role: percentiles(off_mm[rows, r]) for r, role in enumerate(ROLES)}
        for look, rows in (("first", first), ("later", ~first))
    }
    return {"held_out_scenes": len(off_mm), "horizontal_error_mm": errors}


def turn_errors(eye: Eye, table: LookTable, rows: np.ndarray) -> dict:
    """Return how wrong it is about how things are turned, in degrees; nothing where nothing in these rows is."""
    errors = {}
    for r, role in enumerate(ROLES):
        turned = rows[is_turned(table.rows["turn"][rows, r])]
        if len(turned):
            off_deg, first = turn_error_deg(eye, table, turned, r), table.rows["first"][turned]
            found = np.isfinite(off_deg)  # not where no camera shows it
            errors[role] = {"first": percentiles(off_deg[first & found]), "later": percentiles(off_deg[~first & found])}
    return {"turn_error_deg": errors} if errors else {}
