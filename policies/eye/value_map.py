"""Where the eye puts what a sentence names, as maps: over the table by its own error, in each picture by its heat.

Shapes: R = 2 roles (object, target), H and W points of a grid.
"""

from torch import Tensor

from policies.eye.mixing import Found
from policies.eye.trunk import CELLS
from policies.eye.view import View


def table_density(found: Found, xy_m: Tensor) -> Tensor:
    """Return the density (R, H, W), 1/m^2, of each thing at places xy_m (H, W, 2) of the base's frame, of one look.

    The eye's error along an axis is the scale of a Laplace distribution, as it learned it.
    """
    scale = found.log_error[0, :, None, None, :2].exp()
    away = (xy_m - found.points_b[0, :, None, None, :2]).abs()
    return (-away / scale).exp().div(2 * scale).prod(-1)


def picture_chance(view: View) -> Tensor:
    """Return the chance (R, CELLS, CELLS) that each thing's point is in each cell of a picture, of one look.

    They add to the chance that it is in the picture at all.
    """
    return view.roles.logits[0].softmax(-1)[:, :-1].unflatten(-1, (CELLS, CELLS))
