"""Depth: of known planes by pinhole geometry, its noise against the formula, and that nothing else changes by it."""

import types

import mujoco
import numpy as np
import pytest
from fr3 import FR3

from sim.core.errors import UserError
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.randomize.depth_noise import D405, D435, DepthNoise, StereoCamera, measure, shadowed
from sim.randomize.ranges import RandomizeConfig
from sim.render.renderer import OpenGlRenderer
from sim.scene.build import RenderConfig

HEIGHT, WIDTH = 64, 96
FOVY_RAD = np.deg2rad(50)
WORLD = SimulationConfig(render=RenderConfig(height=48, width=48, depth=True))
STILL = DepthNoise(0.0, 0.0)

# A camera 0.8 m above the floor, 30 degrees off the vertical about x, over a box 0.1 m high.
SCENE = """
<mujoco><statistic extent="2" center="0 0 0"/><visual><map znear="0.01" zfar="20"/></visual><worldbody>
  <camera name="eye" pos="0 -0.4 0.8" euler="30 0 0" fovy="50"/><light pos="0 0 3"/>
  <geom type="plane" size="3 3 0.1"/><geom type="box" size="0.1 0.06 0.05" pos="0.05 0 0.05"/>
</worldbody></mujoco>
"""


def rays() -> np.ndarray:
    """(H, W, 3) the line of sight of every pixel in the world, of length 1 along the optical axis."""
    focal = HEIGHT / 2 / np.tan(FOVY_RAD / 2)
    row, column = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    x, y = (column - WIDTH / 2) / focal, (HEIGHT / 2 - row) / focal
    tilt = np.deg2rad(30)
    return np.stack([x, y * np.cos(tilt) + np.sin(tilt), y * np.sin(tilt) - np.cos(tilt)], -1)


def at_height(z: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth (H, W) of the horizontal plane at height z, and where on it (H, W, 3) each pixel looks."""
    depth = (z - 0.8) / rays()[..., 2]
    return depth, np.array([0, -0.4, 0.8]) + depth[..., None] * rays()


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    scene = types.SimpleNamespace(
        model=mujoco.MjModel.from_xml_string(SCENE), cameras={"eye": 0}, meshes_edition=(), shown_meshes=[]
    )
    renderer = OpenGlRenderer(scene, RenderConfig(height=HEIGHT, width=WIDTH))  # pyright: ignore[reportArgumentType]
    before = renderer.render("eye", np.zeros(0))
    depth = renderer.depth("eye", np.zeros(0))
    np.testing.assert_array_equal(renderer.render("eye", np.zeros(0)), before)  # shadows are back
    renderer.close()
    return depth


@pytest.fixture(scope="module")
def env():
    env = SimEnv(WORLD)
    yield env
    env.close()


# ---- the true depth ------------------------------------------------------------------------------


def test_floor_and_box_are_where_pinhole_geometry_has_them(drawn):
    floor, hit = at_height(0.0)
    top, on_top = at_height(0.1)
    inside = (np.abs(on_top[..., 0] - 0.05) < 0.09) & (np.abs(on_top[..., 1]) < 0.05)
    beside = (np.abs(hit[..., 0] - 0.05) > 0.25) & (floor < 3)  # the box hides none of it
    assert inside.sum() > 100 and beside.sum() > 1000
    np.testing.assert_allclose(drawn[inside], top[inside], atol=2e-4)
    np.testing.assert_allclose(drawn[beside], floor[beside], rtol=5e-4)
    assert drawn.dtype == np.float32 and not np.allclose(drawn[inside], floor[inside], atol=0.05)


def test_depth_is_along_the_axis_and_not_the_line_of_sight(drawn):
    distance = at_height(0.0)[0] * np.linalg.norm(rays(), axis=-1)
    assert np.abs(drawn[-1, 0] - distance[-1, 0]) > 0.02


# ---- the noise -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("camera", "z"), [(D435, 0.5), (D435, 1.0), (D435, 2.0), (D405, 0.3), (D405, 0.45)])
def test_noise_grows_with_the_square_of_distance(camera, z):
    wall, noise = np.full((300, 300), z, np.float32), DepthNoise(0.1, 0.0)
    depth = measure(wall, FOVY_RAD, camera, noise, np.random.default_rng(0))
    per_px = z**2 / (camera.focal_px * camera.baseline_m)  # m of depth for a pixel of disparity
    steps = per_px / 32
    expected_m = np.sqrt((0.1 * per_px) ** 2 + steps**2 / 12 + 1e-6 / 12)  # and two roundings
    assert depth.std() == pytest.approx(1e3 * expected_m, rel=0.05)
    assert depth.mean() == pytest.approx(1e3 * z, abs=5e3 * expected_m**2 / z + 0.1)  # 1/d is bent: a little too far


def test_without_noise_a_depth_is_the_nearest_step_of_the_disparity():
    z = np.linspace(0.9, 1.1, 4000, dtype=np.float32)
    found = np.unique(measure(np.repeat(z[None], 2, 0), FOVY_RAD, D435, STILL, np.random.default_rng(0)))
    scale = 212.0 * 0.05
    steps = np.arange(np.ceil(32 * scale / 1.1), np.floor(32 * scale / 0.9) + 1)
    assert set(np.rint(1e3 * 32 * scale / steps)) <= set(found.tolist())
    assert len(found) <= len(steps) + 2 < 100  # of 200 millimetres: about 3 mm a step


def test_a_share_of_pixels_has_none_and_nothing_has_beyond_the_range():
    rng = np.random.default_rng(0)
    holes = measure(np.full((300, 300), 0.5, np.float32), FOVY_RAD, D435, DepthNoise(0.0, 0.1), rng) == 0
    assert holes.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / holes.size))
    z = np.array([[0.05, 0.10], [0.11, 2.9], [3.1, 50.0]], np.float32)
    np.testing.assert_array_equal(measure(z, FOVY_RAD, D435, STILL, rng) > 0, [[0, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize("near", [0.3, 0.5])
def test_left_of_a_nearer_thing_is_a_shadow_as_wide_as_the_disparities_differ(near):
    depth = np.full((64, 128), 1.0, np.float32)
    depth[:, 60:90] = near
    hidden = shadowed(depth, FOVY_RAD, 0.05)
    focal = 32 / np.tan(FOVY_RAD / 2)
    expected = focal * 0.05 * (1 / near - 1.0)
    assert np.abs(hidden.sum(1) - expected).max() <= 1
    assert not hidden[:, 60:].any() and hidden[:, 59].all()
    assert not shadowed(np.full((8, 8), 0.4, np.float32), FOVY_RAD, 0.05).any()


def test_a_table_that_is_seen_at_a_slant_has_no_shadow():
    slanted = np.repeat(np.linspace(0.4, 1.0, 96, dtype=np.float32)[None], 64, 0)
    assert not shadowed(slanted, FOVY_RAD, 0.05).any()
    assert StereoCamera(212.0, 0.05, 0.105, 3.0) == D435


# ---- in the environment --------------------------------------------------------------------------


def test_every_camera_measures_beside_its_image(env):
    env.reset(3)
    seen = env.observe()
    assert set(seen.depth) == set(seen.images) == set(FR3.camera_names)
    for camera, depth in seen.depth.items():
        assert depth.dtype == np.uint16 and depth.shape == (48, 48) and seen.depth[camera] is depth
        true = 1e3 * env.world.depth(camera)
        known = depth > 0
        assert known.mean() > 0.5 and np.median(np.abs(depth[known] - true[known])) < 15


def test_the_same_seed_measures_the_same_and_another_frame_other_noise(env):
    env.reset(4)
    first = env.observe().depth["front"].copy()
    env.reset(5)
    env.reset(4)
    np.testing.assert_array_equal(env.observe().depth["front"], first)
    qpos = env.world.snapshot()
    frames = [env.world.measure_depth("front", qpos, frame) for frame in (1, 2)]
    assert (frames[0] != frames[1]).mean() > 0.3


def test_what_is_drawn_for_it_is_recorded_and_rebuilt_and_nothing_else_changes(env):
    plain = SimEnv(SimulationConfig(render=RenderConfig(height=48, width=48)))
    for one in (env, plain):
        one.reset(11)
    record, without = env.world.params.to_record(), plain.world.params.to_record()
    extra = {name: record.pop(name) for name in ("depth_noise_px", "depth_holes")}
    assert record == without and plain.observe().depth == {}
    assert all(0.03 <= px <= 0.1 for px in extra["depth_noise_px"]) and len(extra["depth_holes"]) == 2
    for camera in FR3.camera_names:
        np.testing.assert_array_equal(env.observe().images[camera], plain.observe().images[camera])
    plain.close()
    params = env.world.params
    depth = env.observe().depth["wrist"].copy()
    env.rebuild(type(params).from_record(params.to_record(), env.world.task.layout_type))
    np.testing.assert_array_equal(env.observe().depth["wrist"], depth)


def test_it_is_randomized_within_its_ranges():
    ranges = RandomizeConfig(depth_noise_px=(0.5, 0.6), depth_holes=(0.3, 0.4))
    world = SimEnv(SimulationConfig(randomize=ranges, render=WORLD.render)).world
    drawn = [world.draw(seed).randomization for seed in range(8)]
    noise = np.array([one.depth_noise_px for one in drawn])
    assert noise.min() >= 0.5 and noise.max() <= 0.6 and len(np.unique(noise)) == noise.size
    assert all(0.3 <= share <= 0.4 for one in drawn for share in one.depth_holes or ())


def test_only_opengl_draws_it():
    with pytest.raises(UserError, match=r"render.depth=true render.renderer=filament: expected opengl") as refused:
        RenderConfig(depth=True, renderer="filament")
    assert "\n" not in str(refused.value)
