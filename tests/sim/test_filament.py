"""The Filament renderer: it shows the scene the classic one shows, follows every edit, and forgets the last episode."""

import contextlib
import os
import subprocess
import sys
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from sim.core.errors import UserError
from sim.envs.simulation import Simulation
from sim.render.filament import FilamentRenderer
from sim.render.photometry import develop
from sim.render.vulkan import INSTALL_VULKAN, check_vulkan
from sim.scene.build import RenderConfig

HEIGHT, WIDTH = 80, 128
SMALL = RenderConfig(height=HEIGHT, width=WIDTH)
RED, GREEN, BLUE = (0.9, 0.05, 0.05), (0.05, 0.7, 0.05), (0.05, 0.1, 0.9)
BENCH = """
<mujoco>
  <visual><map znear="0.01" zfar="10"/></visual>
  <statistic extent="1" center="0 0 0"/>
  <asset>
    <texture name="checks" type="2d" builtin="checker" rgb1="0.1 0.1 0.9" rgb2="0.1 0.9 0.1" width="64" height="64"/>
    <mesh name="tent" vertex="0 0 0 0.2 0 0 0 0.2 0 0 0 0.2"/>
    <material name="plain" rgba="0.7 0.7 0.7 1"/>
    <material name="checked" texture="checks" texrepeat="4 4"/>
  </asset>
  <worldbody>
    <light name="key" pos="0.2 0.3 1.5" dir="-0.1 -0.2 -1" diffuse="0.6 0.6 0.6" castshadow="true" cutoff="60"/>
    <geom name="table" type="box" size="0.6 0.6 0.02" pos="0 0 -0.02" material="plain"/>
    <geom name="hull" type="box" size="0.2 0.2 0.2" pos="0 0 0.2" rgba="0.9 0 0.9 1" group="3"/>
    <geom name="tent" type="mesh" mesh="tent" pos="-0.3 0.3 0.05" rgba="0.8 0.7 0.1 1"/>
    <site name="mark" type="box" size="0.1 0.1 0.1" pos="0.2 0 0.1" rgba="0.9 0 0.9 1"/>
    <camera name="above" pos="0.1 -0.5 0.6" xyaxes="1 0 0 0 0.7 0.5" fovy="50"/>
    <body name="red" pos="-0.15 0 0.05">
      <freejoint/><geom name="red" type="box" size="0.05 0.05 0.05" rgba="0.9 0.05 0.05 1"/>
      <camera name="riding" pos="0 -0.3 0.4" xyaxes="1 0 0 0 0.8 0.6" fovy="70"/>
    </body>
    <body pos="0.2 0.1 0.04"><geom name="green" type="sphere" size="0.04" rgba="0.05 0.7 0.05 1"/></body>
  </worldbody>
</mujoco>
"""


def no_vulkan() -> str:
    try:
        check_vulkan()
    except UserError as error:
        return str(error)
    return ""


needs_vulkan = pytest.mark.skipif(bool(no_vulkan()), reason=no_vulkan())


@contextlib.contextmanager
def opened(scene, config=SMALL):
    renderer = FilamentRenderer(scene, config)
    try:
        yield renderer
    finally:
        renderer.close()


@pytest.fixture
def bench():
    """A scene of the kind the renderer takes: a model and its cameras by name."""
    model = mujoco.MjModel.from_xml_string(BENCH)
    cameras = {name: model.camera(name).id for name in ("above", "riding")}
    return SimpleNamespace(model=model, cameras=cameras, rest=model.qpos0.copy())


def centroid(picture: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    """(2,) row and column of the middle of what has the hue of `colour`."""
    share = picture / np.maximum(picture.sum(-1, keepdims=True), 60.0)
    mask = np.linalg.norm(share - np.array(colour) / sum(colour), axis=-1) < 0.2
    assert mask.sum() > 20
    return np.argwhere(mask).mean(0)


def classic(scene, camera: str, qpos: np.ndarray) -> np.ndarray:
    data, option = mujoco.MjData(scene.model), mujoco.MjvOption()
    option.sitegroup[:] = 0
    option.geomgroup[3] = 0
    data.qpos[:] = qpos
    mujoco.mj_forward(scene.model, data)
    with mujoco.Renderer(scene.model, HEIGHT, WIDTH) as renderer:
        renderer.update_scene(data, camera, option)
        return renderer.render()


# ---- the same scene ----------------------------------------------------------------------------------


@needs_vulkan
@pytest.mark.parametrize("camera", ["above", "riding"])
def test_things_are_where_the_classic_renderer_shows_them(bench, camera):
    qpos = bench.rest.copy()
    qpos[:2] += [0.07, -0.06]
    with opened(bench) as renderer:
        picture = renderer.render(camera, qpos)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    other = classic(bench, camera, qpos)
    for colour in (RED, GREEN):
        assert np.abs(centroid(picture, colour) - centroid(other, colour)).max() < 1.0


@needs_vulkan
def test_what_groups_hide_stays_hidden(bench):
    with opened(bench) as renderer:
        picture = renderer.render("above", bench.rest).astype(int)
        bench.model.geom("green").group = 3
        without = renderer.render("above", bench.rest).astype(int)
    magenta = np.minimum(picture[..., 0], picture[..., 2]) - picture[..., 1]
    assert magenta.max() < 60  # neither collision shape nor site
    assert (np.abs(picture - without).max(-1) > 50).sum() > 20
    green = without[..., 1] - without[..., ::2].max(-1)
    assert green.max() < 20


@needs_vulkan
def test_the_light_throws_a_shadow_where_it_stands_in_the_way(bench):
    bench.model.geom("red").rgba[:3] = 0.7  # nothing but shades of grey on that side
    with opened(bench) as renderer:
        shaded = renderer.render("above", bench.rest).astype(int)
        bench.model.light_castshadow[0] = 0
        lit = renderer.render("above", bench.rest).astype(int)
    assert ((lit - shaded).min(-1) > 20).mean() > 0.004
    assert ((shaded - lit).max(-1) > 5).mean() < 0.01


@needs_vulkan
def test_what_is_wholly_transparent_leaves_no_trace(bench):
    bench.model.geom("green").rgba[3] = 0
    with opened(bench) as renderer:
        unseen = renderer.render("above", bench.rest)
        bench.model.geom("green").group = 3
        assert np.array_equal(renderer.render("above", bench.rest), unseen)


@needs_vulkan
@pytest.mark.parametrize(
    ("rgb", "shown"), [((0.7, 0.3, 0.1), (0.7, 0.3, 0.1)), ((0.5, 0.5, 0.5), (0.1, 0.3, 0.8))]
)  # the second is MuJoCo's for "none given"
def test_a_geom_s_own_colour_goes_before_its_material_s(bench, rgb, shown):
    bench.model.geom("table").rgba[:3] = rgb
    bench.model.material("plain").rgba[:3] = (0.1, 0.3, 0.8)
    with opened(bench) as renderer:
        ours = renderer.render("above", bench.rest)[-8:].mean((0, 1))
    other = classic(bench, "above", bench.rest)[-8:].mean((0, 1))
    assert np.argsort(ours).tolist() == np.argsort(other).tolist() == np.argsort(shown).tolist()


# ---- edits in place ----------------------------------------------------------------------------------


def edit_colour(model):
    model.geom("red").rgba[:3] = BLUE


def edit_size(model):
    model.geom("red").size[:] = 0.09


def edit_mesh(model):
    model.mesh_vert[:] *= 1.4


def edit_mesh_in_one_direction(model):
    model.mesh_vert[:, 2] *= 2.0


def edit_material_colour(model):
    model.material("plain").rgba[:3] = (0.2, 0.1, 0.1)


def edit_material(model):
    model.geom("table").matid = model.material("checked").id


def edit_camera(model):
    model.camera("above").pos[:] = (0.05, -0.55, 0.7)


def edit_opening(model):
    model.camera("above").fovy = 40.0


def edit_light(model):
    model.light("key").pos[:] = (-0.5, -0.3, 1.0)


def edit_light_colour(model):
    model.light("key").diffuse[:] = (0.6, 0.3, 0.2)


def edit_light_strength(model):
    model.light("key").diffuse[:] = (0.3, 0.15, 0.1)  # of the same hue


def edit_light_off(model):
    model.light("key").active = 0


def edit_ambient(model):
    model.vis.headlight.ambient[:] = 0.5


EDITS = [edit for name, edit in list(globals().items()) if name.startswith("edit_")]


@needs_vulkan
def test_a_renderer_that_drew_before_shows_each_edit_as_a_fresh_one_does(bench):
    with opened(bench) as renderer:
        before = renderer.render("above", bench.rest)
        for edit in EDITS:
            edit(bench.model)
            after = renderer.render("above", bench.rest)
            assert (np.abs(after.astype(int) - before).max(-1) > 8).sum() > 50, edit.__name__
            with opened(bench) as fresh:
                assert np.array_equal(after, fresh.render("above", bench.rest)), edit.__name__
            before = after


@needs_vulkan
def test_pictures_depend_on_nothing_that_was_drawn_before(bench):
    with opened(bench) as renderer:
        first = renderer.render("above", bench.rest)
        for _ in range(3):
            assert not np.array_equal(renderer.render("riding", bench.rest), first)
        assert np.array_equal(renderer.render("above", bench.rest), first)


@needs_vulkan
def test_a_second_episode_of_the_bench_is_drawn_as_by_a_fresh_renderer():
    world = Simulation()
    pictures = {}
    with opened(world.scene) as used:
        for seed in (3, 5):
            world.reset(seed)
            pictures[seed] = [used.render(camera, world.snapshot()) for camera in ("front", "wrist")]
        with opened(world.scene) as fresh:
            again = [fresh.render(camera, world.snapshot()) for camera in ("front", "wrist")]
    assert np.array_equal(pictures[5], again)
    assert (np.abs(np.subtract(pictures[3], pictures[5], dtype=int)).max(-1) > 20).mean() > 0.3
    world.close()


# ---- photometry --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("linear", "shown"),
    [
        ((0.0, 0.0, 0.0), (0, 0, 0)),
        ((0.25, 0.25, 0.25), (127, 127, 127)),  # 0.21 by the sRGB curve is 0.4962
        ((0.6, 0.1, 0.1), (197, 69, 69)),  # 0.56 is 0.7736, 0.06 is 0.2717
        ((0.04, 0.04, 0.04), (25, 25, 25)),  # 6.25 * 0.04^2 = 0.01 is 0.0998
    ],
)
def test_light_is_shown_by_the_published_curves(linear, shown):
    assert np.abs(develop(np.array(linear, np.float32)).astype(int) - shown).max() <= 1


def test_more_light_is_never_shown_darker():
    ramp = develop(np.linspace(0, 1, 500, dtype=np.float32)[:, None].repeat(3, 1))[:, 0].astype(int)
    assert (np.diff(ramp) >= 0).all() and ramp[-1] > 220


# ---- a machine without it ----------------------------------------------------------------------------


@pytest.mark.parametrize("hide", [{"VK_DRIVER_FILES": "/nonexistent", "VK_ICD_FILENAMES": "/nonexistent"}])
def test_without_a_driver_the_line_that_installs_it_is_named(hide):
    code = "import sim; from sim.render.vulkan import check_vulkan; check_vulkan()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **hide}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1  # an exception, where Filament itself would abort
    assert "UserError" in done.stderr and INSTALL_VULKAN in done.stderr


@needs_vulkan
def test_a_program_that_ends_without_closing_ends_well_and_prints_nothing_of_its_own():
    code = (
        "import sim; from sim.envs.simulation import Simulation; from sim.render.filament import FilamentRenderer;"
        "from sim.scene.build import RenderConfig; world = Simulation(); world.reset(0);"
        "renderer = FilamentRenderer(world.scene, RenderConfig());"
        "print(renderer.render('front', world.snapshot()).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(96, 96, 3)\n"
