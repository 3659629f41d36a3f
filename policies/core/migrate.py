"""Checkpoints and pretrained fusions made before version 0.2: their keys and names as they are now.

Then a checkpoint had one kind of network, stated its dimensions among the options, and its weights
were named otherwise. Nothing else in the project knows those names.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sim.core.deprecated import TASKS, current

POINTS = (
    "grounding.object_pos_w", "grounding.target_pos_w", "grounding.object_pos_t", "grounding.target_pos_t",
)  # fmt: skip
AIM = "fusion.aim.linear.weight"
AIM_END, SURE_END = ".aim.linear.weight", ".aim.sure_m"
TURN = 4  # numbers that say how a thing is turned
WEIGHTS = {  # prefix of a weight's name, then and now
    "point_center": "fusion.point_center",
    "action_mean": "normalizer.mean",
    "action_std": "normalizer.std",
    "expert.": "head.",
    "fusion.words.": "fusion.text.",
    "fusion.eyes.": "fusion.encoders.",
}


def migrate_checkpoint(content: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Return a checkpoint's config.json and weights as they are written now."""
    content = _with_noise(_with_tasks(content))
    weights = {name: value for name, value in weights.items() if not name.endswith(SURE_END)}  # of an eye's error
    if "spec" in content:
        return _with_object_turn(*_with_aim(content, weights))
    policy = dict(content["policy"])
    dimensions = {name: policy.pop(name) for name in ("cameras", "state_dim", "action_dim")}
    policy["fusion"] = _fusion_config(policy["fusion"])
    policy["head"] = {"name": "flow", **policy.pop("flow")}
    parts = {"vision": {"name": "efficientnet"}, "language": {"name": "minilm"}}
    moved = {name: content[name] for name in ("robot", "image_size")}
    rest = {name: value for name, value in content.items() if name not in moved}
    spec = {**dimensions, **moved, "points": POINTS}
    now = {**rest, "policy": {"name": "vla", **parts, **policy}, "spec": spec}
    return now, {_renamed(name): value for name, value in weights.items()}


def _with_aim(content: dict[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Points were all that such a head was given, what it takes to reach them weighs nothing."""
    fusion = content.get("policy", {}).get("fusion", {})
    if fusion.get("name") not in ("true_points", "grounded_points") or not _moves(content) or AIM in weights:
        return content, dict(weights)
    if fusion.get("finder", {}).get("name") == "eye":
        fusion = {**fusion, "finder": {"turn": False, **fusion["finder"]}}
    none = torch.zeros(len(weights["fusion.token.linear.bias"]), _moves(content) + TURN)
    return {**content, "policy": {**content["policy"], "fusion": fusion}}, {**weights, AIM: none}


def _with_object_turn(content: dict[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """How the target is turned was all that was told and found, without a closer look for pixels; how the object is
    weighs nothing, in any fusion."""
    policy = content.get("policy", {})
    fusion = policy.get("fusion", {})
    if (fusion.get("finder") or {}).get("name") == "eye":
        fusion = {**fusion, "finder": {"object_turn": False, "closer": False, **fusion["finder"]}}
        content = {**content, "policy": {**policy, "fusion": fusion}}

    def told(value: Tensor) -> Tensor:
        moves = _moves(content)
        if value.shape[1] != moves + TURN:
            return value
        return torch.cat([value[:, :moves], torch.zeros_like(value[:, :TURN]), value[:, moves:]], 1)

    return content, {name: told(value) if name.endswith(AIM_END) else value for name, value in weights.items()}


def _moves(content: Mapping[str, Any]) -> int:
    """Return how many numbers tell by how much each joint moves to bring the tool to each point."""
    spec = content["spec"]
    return sum(name.endswith("_t") for name in spec["points"]) * (spec["state_dim"] - 1)


def _with_noise(content: dict[str, Any]) -> dict[str, Any]:
    """A diffusion head found the noise."""
    policy = content.get("policy", {})
    if policy.get("head", {}).get("name") != "diffusion":
        return content
    return {**content, "policy": {**policy, "head": {"predicts": "noise", **policy["head"]}}}


def _with_tasks(content: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint named one task."""
    if "task" not in content:
        return dict(content)
    task = current("task", content["task"], TASKS)
    return {**{name: value for name, value in content.items() if name != "task"}, "tasks": [task] if task else []}


def migrate_fusion(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Return the configuration and weights of a pretrained fusion as they are written now."""
    if "name" in config:
        finders = ("turn", "object_turn", "closer") if config["name"] == "eye" else ()
        has = {finder: any(name.startswith(f"{finder}.") for name in weights) for finder in finders}
        return {**has, **config}, dict(weights)
    renamed = {_renamed(f"fusion.{name}").removeprefix("fusion."): value for name, value in weights.items()}
    return _fusion_config(config), renamed


def _fusion_config(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "keypoints", **{name: value for name, value in values.items() if name != "grounding_points"}}


def _renamed(name: str) -> str:
    for then, now in WEIGHTS.items():
        if name.startswith(then):
            return now + name.removeprefix(then)
    return name
