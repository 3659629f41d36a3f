"""What is known about one look: where the named things are, their pixels, which thing each cell of an image shows.

Shapes: C cameras, R = 2 roles (object, target), K arm points, T things at most. Pixels are (x, y) from the upper left
corner in units of the image's side, so 0..1 within it.
"""

from dataclasses import dataclass

import numpy as np
import torch

from policies.eye.bench import Arm
from sim.core.contract import TURN_COLUMNS
from sim.envs.regions import project
from sim.envs.simulation import Simulation
from sim.scene.placement import COLOURS
from sim.tasks.instructions import NOUNS

KINDS, COLOUR_NAMES = tuple(NOUNS), tuple(COLOURS)
BOTH_ROLES = ("drawer", "button")  # a sentence that names one such thing alone is about two points of it
THINGS = 14
NOTHING, ARM, FIRST_THING = 0, 1, 2  # in the map of cells
CELLS = 48  # a side


@dataclass(frozen=True)
class Thing:
    """Something that a sentence may name."""

    body: int
    kind: str
    colour: str


def things(world: Simulation) -> list[Thing]:
    """Return what stands on the table: objects, then targets, then distractors."""
    scene, layout = world.scene, world.params.layout
    first = len(scene.objects) - scene.inventory.distractors
    objects = zip(scene.objects, layout.object_shapes, layout.object_colours, strict=False)
    others = zip(scene.objects[first:], layout.distractor_shapes, layout.distractor_colours, strict=False)
    targets = zip(scene.targets, layout.target_colours, strict=False)
    return [
        *(Thing(int(body), shape, colour) for body, shape, colour in objects),
        *(Thing(int(body), world.task.target_kind, colour) for body, colour in targets),
        *(Thing(int(body), shape, colour) for body, shape, colour in others),
    ]


def named_points_w(world: Simulation, step: int | None) -> dict[str, np.ndarray]:
    """Return where object and target are, by role, (3,) m; of one step of a long task."""
    state, task = world.scene_state, world.task
    return task.points_w(state) if step is None else task.step_points_w(state, step)


def turns(world: Simulation, step: int | None) -> np.ndarray:
    """Return how object and target are turned, (R, 4) `TURN_COLUMNS`; of one step of a long task."""
    truth = world.ground_truth(told="" if step is None else (world.params.layout.subtasks or ())[step])
    return np.stack([truth[name] for name in TURN_COLUMNS])


def cells(world: Simulation, camera: str, here: list[Thing]) -> np.ndarray:
    """Return which thing each cell shows, uint8 (CELLS, CELLS): NOTHING, ARM, or FIRST_THING and its number."""
    model = world.scene.model
    number_of_body = np.zeros(model.nbody + 1, np.uint8)
    roots = model.body_rootid
    number_of_body[:-1][roots == roots[world.scene.base]] = ARM
    for i, thing in enumerate(here):
        number_of_body[:-1][roots == thing.body] = FIRST_THING + i
    body_of_geom = np.append(model.geom_bodyid, model.nbody)
    sides = world.config.render.height, world.config.render.width
    rows, columns = (((np.arange(CELLS) + 0.5) * side / CELLS).astype(int) for side in sides)
    geoms = world.segment(camera)[np.ix_(rows, columns)]
    return number_of_body[body_of_geom[geoms]]


def landmarks_w(world: Simulation, arm: Arm) -> np.ndarray:
    """Return the arm's landmarks (K, 3) m in the world frame, where they truly are."""
    scene, data = world.scene, world.data
    points_b = arm(torch.from_numpy(data.qpos[scene.arm_qpos])[None])[0][0].numpy()
    return points_b @ data.xmat[scene.base].reshape(3, 3).T + data.xpos[scene.base]


def look_labels(world: Simulation, arm: Arm, step: int | None) -> dict[str, np.ndarray]:
    """Return the labels of the scene as it is posed now; `step` of a long task, None for the whole of any task."""
    data, scene, here = world.data, world.scene, things(world)
    points_w = np.stack(list(named_points_w(world, step).values()))
    cameras = [scene.cameras[name] for name in world.robot.camera_names]
    views = [(data.cam_xpos[c].copy(), data.cam_xmat[c].reshape(3, 3).copy(), scene.model.cam_fovy[c]) for c in cameras]
    base_w, turn_w = data.xpos[scene.base], data.xmat[scene.base].reshape(3, 3)
    table = np.zeros((THINGS, 2), np.uint8)
    table[: len(here)] = [[1 + KINDS.index(one.kind), COLOUR_NAMES.index(one.colour)] for one in here]
    arm_w = landmarks_w(world, arm)
    return {
        "cells": np.stack([cells(world, name, here) for name in world.robot.camera_names]),  # (C, CELLS, CELLS)
        "pixels": np.stack([project(points_w, *view) for view in views]).astype(np.float32),  # (C, R, 2)
        "arm_pixels": np.stack([project(arm_w, *view) for view in views]).astype(np.float32),  # (C, K, 2)
        "camera_pos_w": np.stack([view[0] for view in views]).astype(np.float32),
        "camera_rotation_w": np.stack([view[1] for view in views]).astype(np.float32),
        "camera_fovy_deg": np.array([view[2] for view in views], np.float32),
        "points_b": ((points_w - base_w) @ turn_w).astype(np.float32),  # (R, 3) m in the arm's base frame
        "points_t": ((points_w - data.site_xpos[scene.tcp_site]) @ data.site_xmat[scene.tcp_site].reshape(3, 3)).astype(
            np.float32
        ),
        "turn": turns(world, step),  # (R, 4)
        "things": table,  # (THINGS, 2): 1 + kind, colour
    }
