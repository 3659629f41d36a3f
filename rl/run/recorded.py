"""Rollouts that another program recorded, as a round's data: what must fit is checked before the work begins.

Nothing of the simulator's truth is needed. Success is what each episode's metadata says, on the robot by the operator's
key; interventions are the frames in which a person acted.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from policies.core.interface import Policy
from policies.core.weight_files import SHA256
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source, check_fits
from rl.data.pool import ROLLOUT, open_pool, task_of
from rl.data.rollouts import who_acted
from rl.value.value_quality import check_outcomes
from sim.core.contract import CONTRACT_VERSION
from sim.core.errors import UserError
from sim.dataset.reader import Dataset


def check_recorded(roots: Iterable[str], task: str, pretrained: Path, evaluated: range) -> list[str]:
    """Return warnings about datasets that a round is to learn from.

    UserError when one is of another task, robot, contract or policy, holds a seed that is evaluated on or lacks what
    the policy looks at, and when no episode succeeded or none was the policy's own.
    """
    policy, metadata = checkpoint.load(pretrained)
    metadata.check_task(task, f"policy {pretrained}")
    datasets = [Dataset(root) for root in roots]
    warnings = [line for one in datasets for line in _check(one, task, pretrained, policy, evaluated)]
    pool = open_pool([one.root for one in datasets])
    if not ((pool.source == ROLLOUT) & ~pool.cut_off).any():
        raise UserError(
            f"rollouts: all {len(pool.length)} episodes are of {' and '.join(np.unique(pool.source))}, expected some "
            "of the policy alone: their advantages set the threshold"
        )
    if pool.cut_off.any():
        warnings.append(f"{pool.cut_off.sum()} episodes ended by a fault or a stop are not counted")
    return [*warnings, *check_outcomes(pool)]


def _check(dataset: Dataset, task: str, pretrained: Path, policy: Policy, evaluated: range) -> list[str]:
    """Return warnings about one dataset. UserError as `check_recorded`."""
    root, contract = dataset.root, dataset.provenance.get("contract", CONTRACT_VERSION)
    if not dataset.num_episodes:
        raise UserError(f"rollouts: {root} has no episodes, expected at least one")
    if contract != CONTRACT_VERSION:
        raise UserError(f"rollouts: {root} has contract version {contract}, expected {CONTRACT_VERSION}")
    if (found := task_of(dataset)) not in ("", task):
        raise UserError(f"rollouts: {root} is of task {found!r}, expected {task!r}")
    shared = [seed for seed in dataset.metadata_table().get("seed", []) if seed in evaluated]
    if shared:
        raise UserError(f"rollouts: {root} holds seed {shared[0]}, which is evaluated on; change evaluation_seed")
    table = EpisodeTable(Source(root))
    check_fits(table, policy)
    if policy.needs.ground_truth and np.isnan(table.truth).any():
        raise UserError(f"rollouts: {root} has no ground truth, expected it for {pretrained}, which acts on it")
    unsaid = [] if found else [f"{root} does not say its task, taken as {task}"]
    return [*unsaid, *_check_policy(dataset, pretrained)]


def _check_policy(dataset: Dataset, pretrained: Path) -> list[str]:
    """Return a warning where a dataset does not say who acted. UserError for another policy than `pretrained` or one
    retrained from it."""
    made_by = dataset.provenance
    name, weights = who_acted(made_by), made_by.get(SHA256) or made_by.get("behaviour", {}).get(SHA256)
    if weights and weights == checkpoint.card(pretrained).get(SHA256):
        return []
    if name is None:
        return [f"{dataset.root} does not say which policy acted, taken as {pretrained}"]
    if name.startswith(("ws://", "wss://")):
        return [f"{dataset.root} was decided by the server {name}, taken as {pretrained} or retrained from it"]
    replaced = weights and checkpoint.card(name).get(SHA256, weights) != weights
    if replaced or not _is_from(Path(name), pretrained):
        acted = f"other weights than {name} has now" if replaced else name
        raise UserError(
            f"rollouts: {dataset.root} holds those of {acted}, expected those of the policy {pretrained} or of one "
            "retrained from it"
        )
    return []


def _is_from(one: Path, pretrained: Path) -> bool:
    """Return whether a checkpoint is `pretrained` or was retrained from it, in however many updates."""
    before: list[Path] = []
    while not _same(one, pretrained):
        init = checkpoint.card(one).get("provenance", {}).get("init")
        if init is None or one in before:
            return False
        before, one = [*before, one], Path(init)
    return True


def _same(one: Path, other: Path) -> bool:
    """Return whether two checkpoint directories hold the same weights, wherever they lie."""
    first, second = checkpoint.card(one).get(SHA256), checkpoint.card(other).get(SHA256)
    return one.resolve() == other.resolve() or (first is not None and first == second)


def longest_limits(roots: Iterable[str], task: str, limits: Mapping[str, int]) -> dict[str, int]:
    """Return T_max of each task in steps, of `task` no less than its longest episode: a person may have given more.

    What a fault or a stop cut off does not count.
    """
    datasets = [Dataset(root) for root in roots]
    lengths = [one.length(e) for one in datasets for e in range(one.num_episodes) if not one.was_cut_off(e)]
    return {**limits, task: max([limits[task], *lengths])}
