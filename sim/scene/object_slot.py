"""A slot: one free body that was compiled with every shape it may have, of which one at a time is drawn and touched.

Changing costs no compilation. After all slots of a model have their shapes, `mujoco.mj_setConst` derives what MuJoCo
keeps of the masses; an OpenGL context that exists already must be given `shown_meshes` anew (`mjr_uploadMesh`).
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from sim.core.errors import UserError, nearest
from sim.scene.bounds import Bounds
from sim.scene.parts import Shape
from sim.scene.shapes import SHAPES

SWITCHED = ("geom_contype", "geom_conaffinity", "geom_group")
SCALED = ("geom_pos", "geom_size", "geom_rbound", "geom_aabb")
HIDDEN_GROUP = 5  # drawn by no renderer of ours
# Off the origin along every axis: a body whose frame is its inertia's would be compiled to ignore a new one.
COMPILED_COM_M = (0.0011, 0.0012, 0.0013)
COMPILED_MASS_KG, COMPILED_INERTIA_KG_M2 = 0.08, 2e-5


def known_shape(name: str) -> Shape:
    """Return the shape of that name. UserError for one that does not exist."""
    if name not in SHAPES:
        raise UserError(nearest(name, SHAPES, "shape"))
    return SHAPES[name]


def add_slot(spec: mujoco.MjSpec, name: str, shapes: Sequence[str], pos_w: Sequence[float]) -> mujoco.MjsBody:
    """Add a free body `name` (and its free joint of the same name) that can have any of `shapes`."""
    body = spec.worldbody.add_body(
        name=name, pos=pos_w, mass=COMPILED_MASS_KG, ipos=COMPILED_COM_M, inertia=[COMPILED_INERTIA_KG_M2] * 3,
        explicitinertial=True,
    )  # fmt: skip
    body.add_freejoint(name=name)
    for shape in shapes:
        known_shape(shape).add(spec, body, name)
    return body


class Slot:
    """Gives the body `name` of a compiled model any of the `shapes` that it was built with.

    `geoms` are its geoms by shape. Made once for a model: it remembers the model as compiled, before any shape is set
    (ValueError otherwise).
    """

    def __init__(self, model: mujoco.MjModel, name: str, shapes: Sequence[str]):
        self._model = model
        self.body = model.body(name).id
        self.geoms = {s: np.array([model.geom(n).id for n in known_shape(s).geom_names(name)]) for s in shapes}
        self._all = np.concatenate(list(self.geoms.values()))
        if (model.geom_group[self._all] == HIDDEN_GROUP).any():
            raise ValueError(f"slot {name!r} has its shape already")
        self.edition = 0  # grows when a mesh changes
        self.shape, self.scale = next(iter(self.geoms)), 1.0  # at present
        self.shown_meshes: list[int] = []
        self._compiled = {field: getattr(model, field).copy() for field in (*SWITCHED, *SCALED)}
        self._bounds = {shape: Bounds(model, self.body, self.touched(shape)) for shape in shapes}
        self._vertices = {mesh: self._mesh_rows(mesh).copy() for shape in shapes for mesh in self.meshes(shape)}

    @property
    def half_height_m(self) -> float:
        """Return the height of its middle above what it stands on."""
        return SHAPES[self.shape].half_height_m * self.scale

    @property
    def grasp_half_width_m(self) -> float:
        """Return the travel of each finger at which it is touched."""
        return SHAPES[self.shape].grasp_width_m / 2 * self.scale

    @property
    def has_top(self) -> bool:
        """Return whether it stands on its foot alone."""
        return SHAPES[self.shape].has_top

    def meshes(self, shape: str) -> list[int]:
        """Return the ids of the meshes that are drawn for `shape`."""
        ids = self._model.geom_dataid[self._of(shape)]
        return ids[ids >= 0].tolist()

    def touched(self, shape: str) -> np.ndarray:
        """Return the ids of the geoms of `shape` that take part in contacts."""
        geoms = self._of(shape)
        return geoms[self._compiled["geom_contype"][geoms] > 0]

    def set_shape(self, shape: str, *, scale: float = 1.0, mass_kg: float | None = None, inertia: float = 1.0) -> None:
        """Show `shape` alone, `scale` times its nominal size, with its contacts and inertia.

        The mass is the middle of the shape's usual range unless given; `inertia` multiplies what an even filling of
        the scaled shape has. UserError for a shape that the slot was not built with or a scale beyond its bounds.
        """
        geoms, known = self._of(shape), SHAPES[shape]
        if not 0.0 < scale <= known.max_scale:
            raise UserError(f"scale={scale} of a {shape}: expected more than 0, at most {known.max_scale}")
        self._hide()
        self.shape, self.scale = shape, scale
        model, compiled, ratio = self._model, self._compiled, scale / known.max_scale
        for field in SWITCHED:
            getattr(model, field)[geoms] = compiled[field][geoms]
        for field in SCALED:
            getattr(model, field)[geoms] = compiled[field][geoms] * ratio
        self.shown_meshes = self.meshes(shape)
        self.edition += bool(self.shown_meshes)
        for mesh in self.shown_meshes:
            self._mesh_rows(mesh)[:] = self._vertices[mesh] * np.float32(ratio)
        mass = float(np.mean(known.mass_kg)) if mass_kg is None else mass_kg
        model.body_mass[self.body] = mass
        model.body_ipos[self.body] = known.com_m * scale
        model.body_inertia[self.body] = known.inertia_per_kg * (mass * scale**2 * inertia)
        model.body_gravcomp[self.body] = 0.0
        self._bounds[shape].fit(model)

    def put_away(self) -> None:
        """Make the object unseen, untouched and weightless."""
        self.set_shape(next(iter(self.geoms)))
        self._hide()
        self.shown_meshes = []
        self._model.body_gravcomp[self.body] = 1.0

    def paint(self, shape: str, rgb: Sequence[float], material: int = -1) -> None:
        """Set the colour and material of `shape`; parts with a colour of their own (steel, paper) keep it."""
        own = np.array([part.rgb is not None for part in SHAPES[shape].parts])
        self._model.geom_rgba[self._of(shape)[~own], :3] = rgb
        self._model.geom_matid[self._of(shape)[~own]] = material

    def set_friction(self, shape: str, sliding: float) -> None:
        """Set the sliding friction of the parts of `shape` that touch."""
        self._model.geom_friction[self.touched(shape), 0] = sliding

    def _hide(self) -> None:
        self._model.geom_contype[self._all] = self._model.geom_conaffinity[self._all] = 0
        self._model.geom_group[self._all] = HIDDEN_GROUP

    def _of(self, shape: str) -> np.ndarray:
        if shape not in self.geoms:
            raise UserError(nearest(shape, self.geoms, "shape of this slot"))
        return self.geoms[shape]

    def _mesh_rows(self, mesh: int) -> np.ndarray:
        first = self._model.mesh_vertadr[mesh]
        return self._model.mesh_vert[first : first + self._model.mesh_vertnum[mesh]]
