"""The loss of the eye's network: pixels, likeness and colours, of what is named, of what is not there, of any thing.

Every image is asked five things at once: object and target of its sentence, those of a sentence that names something
absent, and one thing on the table by its words alone.

Shapes: B looks, N cells, R = 2 roles, Q = 5 queries.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor

from policies.eye.network import EyeNetwork
from policies.eye.queries import Queries
from policies.eye.trunk import as_patches
from policies.eye.view import View, heat_loss, match_loss
from policies.scenes.labels import FIRST_THING
from policies.scenes.table import LookBatch

ABSENT = -1  # what a sentence names that is not there
WEIGHTS = {"cross": 1.0, "spread": 0.1, "arm": 0.4, "arm_spread": 0.05, "match": 0.7, "colour": 1.0, "height": 0.05}
FOIL_WEIGHT = 0.5
GAIN, TINT = 0.12, 0.06  # by which images are made brighter or darker, and each colour of them
Parts = dict[str, Tensor]


def network_loss(
    network: EyeNetwork, cameras: Sequence[str], fixed: Sequence[str], batch: LookBatch, generator: torch.Generator
) -> tuple[Tensor, Parts]:
    """Return the loss and its parts, detached. fixed: cameras that see the arm from the bench."""
    asked = network.read(batch.words, batch.word_mask)
    foil = network.read(batch.foil_words, batch.foil_mask)
    phrase = network.read(batch.phrase_words, batch.phrase_mask)
    queries = _joined([asked, foil, _first(phrase)])
    parts = {"words": _colour_of_words(batch, asked, phrase), "height": _height(asked, batch.points_b[..., 2])}
    total = parts["words"] + WEIGHTS["height"] * parts["height"]
    for c, camera in enumerate(cameras):
        view = network.view(camera)
        seen = view.compare(view.look(_varied(as_patches(batch.images[:, c]), generator)), queries)
        one = _roles(batch, c, seen) | {"match": _match(batch, c, seen), "colour": _colour(batch, c, seen)}
        if camera in fixed:
            arm = heat_loss(seen.arm, batch.arm_pixels[:, c], torch.ones_like(seen.arm.presence))
            one |= {"arm": arm["cross"], "arm_spread": arm["spread"]}
        total = total + sum(WEIGHTS[name] * value for name, value in one.items() if name in WEIGHTS)
        parts |= {f"{camera}_{name}": value for name, value in one.items()}
    return total, {name: value.detach() for name, value in parts.items()}


def _roles(batch: LookBatch, camera: int, seen: View) -> Parts:
    """Return the losses of the pixels of object and target, of the sentence and of its foil."""
    pixels = batch.pixels[:, camera]
    wanted = torch.cat([pixels, torch.where(batch.absent[..., None], torch.nan, pixels)], 1)
    has_foil = FOIL_WEIGHT * batch.absent.any(1, keepdim=True).expand(-1, 2)
    roles = replace(seen.roles, **{f.name: getattr(seen.roles, f.name)[:, :4] for f in fields(seen.roles)})
    return heat_loss(roles, wanted, torch.cat([torch.ones_like(has_foil), has_foil], 1))


def _match(batch: LookBatch, camera: int, seen: View) -> Tensor:
    """Return the loss of the likeness of cells; what no phrase names is left out."""
    shown = batch.shown[:, camera]
    who = torch.cat([batch.named, torch.where(batch.absent, ABSENT, batch.named), batch.phrase[:, None]], 1)
    known, shows = who != 0, (shown[:, None] == who[..., None]).float()
    anything = (shown > 0).float()[:, None].expand_as(shows)
    return match_loss(seen.match[known][:, None], shows[known][:, None], anything[known])


def _colour(batch: LookBatch, camera: int, seen: View) -> Tensor:
    """Return the squared error of the colour of cells that show a thing."""
    shown = batch.shown[:, camera]
    is_thing, true = (shown >= FIRST_THING).float(), _rgb(batch, shown).transpose(1, 2)
    return ((seen.colour - true).square().sum(1) * is_thing).sum() / is_thing.sum().clamp(min=1)


def _colour_of_words(batch: LookBatch, asked: Queries, phrase: Queries) -> Tensor:
    """Return the squared error of the colours that words mean."""
    known = (batch.named > 0).float()
    sentence = (asked.colour - _rgb(batch, batch.named)).square().sum(-1)
    alone = (phrase.colour[:, 0] - _rgb(batch, batch.phrase[:, None])[:, 0]).square().sum(-1)
    return (sentence * known).sum() / known.sum().clamp(min=1) + alone.mean()


def _height(asked: Queries, height_m: Tensor) -> Tensor:
    """Return how unlikely the true heights (B, R) are."""
    mean, log_scale = asked.height.unbind(-1)
    return ((height_m - mean).abs() / log_scale.exp() + log_scale).mean()


def _rgb(batch: LookBatch, which: Tensor) -> Tensor:
    """which (B, n) values of cells -> (B, n, 3)."""
    return batch.rgb.gather(1, which[..., None].expand(-1, -1, 3))


def _varied(patches: Tensor, generator: torch.Generator) -> Tensor:
    """Make images brighter or darker, and warmer or colder."""
    gain = 1 + GAIN * _symmetric((len(patches), 1, 1, 1), generator)
    tint = 1 + TINT * _symmetric((len(patches), 3), generator).repeat(1, 4)[:, :, None, None]
    return (patches + 1) * gain.to(patches.device) * tint.to(patches.device) - 1  # drawn on the CPU, for any device


def _symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def _joined(queries: Sequence[Queries]) -> Queries:
    return Queries(*(torch.cat([getattr(one, f.name) for one in queries], 1) for f in fields(Queries)))


def _first(queries: Queries) -> Queries:
    return Queries(*(getattr(queries, f.name)[:, :1] for f in fields(Queries)))
