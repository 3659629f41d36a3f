"""Maps of where the eye puts things: a density that a statistics library agrees with, chances that add up, one PNG."""

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from scipy.stats import laplace

from policies.eye.mixing import Found
from policies.eye.trunk import CELLS
from policies.eye.value_map import picture_chance, table_density
from policies.eye.view import nothing_seen
from policies.value_map import ValueMapConfig, grid, value_map
from sim.core.config import load
from sim.core.errors import UserError


def found(points: list, errors: list) -> Found:
    error = torch.tensor([errors]).log()
    points_b = torch.tensor([points])
    return Found(points_b, points_b, torch.cat([error, error[..., :1]], -1), torch.zeros(1, 2, 2), torch.eye(3)[None])


def test_the_density_over_the_table_is_that_of_two_laplace_errors():
    places = grid()
    one = found([[-0.3, 0.1, 0.02], [-0.4, -0.1, 0.0]], [[0.01, 0.02, 0.01], [0.008, 0.008, 0.01]])
    density = table_density(one, places).numpy()
    x, y = places.numpy()[..., 0], places.numpy()[..., 1]
    expected = laplace.pdf(x, -0.3, 0.01) * laplace.pdf(y, 0.1, 0.02)
    np.testing.assert_allclose(density[0], expected, rtol=2e-3, atol=1e-6)
    cell_m2 = float((x[0, 0] - x[1, 0]) * (y[0, 1] - y[0, 0]))
    np.testing.assert_allclose(density.sum((1, 2)) * cell_m2, 1.0, rtol=0.03)
    row, column = np.unravel_index(density[1].argmax(), density[1].shape)
    assert (x[row, column], y[row, column]) == (pytest.approx(-0.4, abs=2e-3), pytest.approx(-0.1, abs=2e-3))


def test_the_chances_of_cells_and_of_absence_add_to_one():
    view = nothing_seen(1, 2, 4)
    view.roles.logits = torch.randn(1, 2, CELLS**2 + 1, generator=torch.Generator().manual_seed(0))
    view.roles.logits[0, 0, 7 * CELLS + 3] = 9.0
    chance = picture_chance(view)
    assert chance.shape == (2, CELLS, CELLS) and chance[0].argmax() == 7 * CELLS + 3
    odds = np.exp(view.roles.logits[0].numpy().astype(float))
    np.testing.assert_allclose(chance.sum((1, 2)), 1 - odds[:, -1] / odds.sum(1), rtol=1e-5)


def test_one_command_draws_a_row_for_each_step(tmp_path):
    out = tmp_path / "maps" / "map.png"
    words = ["task=place_in_turn", "planner=grammar", f"out={out}"]
    assert value_map(load("value_map", ValueMapConfig, words)) == out
    two = imageio.imread(out)
    value_map(load("value_map", ValueMapConfig, [*words, "planner=none", "instruction=press the red button"]))
    one = imageio.imread(out)
    assert two.shape[0] == 2 * one.shape[0] and two.shape[1] == one.shape[1]
    cameras = two[:, : 2 * two.shape[1] // 3]
    assert (np.ptp(cameras.reshape(-1, cameras.shape[2])[:, :3], axis=0) > 100).all()


def test_a_policy_without_an_eye_has_no_map(tmp_path):
    with pytest.raises(UserError):
        value_map(load("value_map", ValueMapConfig, [f"checkpoint={tmp_path}"]))
