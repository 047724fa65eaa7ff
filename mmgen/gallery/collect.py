"""From runs to what the page shows."""

import csv
from pathlib import Path

import torch
from einops import rearrange

from mmgen.gallery.material import Curve, Film, MaskPicture
from mmgen.gallery.tiles import webp_bytes
from mmgen.masks import CATALOGUE, example, get_mask
from mmgen.paradigms import Paradigm, State
from mmgen.picture import mask_image
from mmgen.tokenizers import Tokenizer
from mmgen.tokens import Tokens

_SCALE = 1.5  # pixels a point of a mask's card


@torch.no_grad()
def film(tokenizer: Tokenizer, states: list[State]) -> Film:
    """States of a sampler, decoded. Open places take the token of a black image, which lends its neighbours nothing.

    Args:
        tokenizer: of still images.
        states: of one batch, from the empty one to the finished one.
    """
    device = next(tokenizer.parameters()).device
    black = tokenizer.encode(torch.full((1, *tokenizer.sample_shape), -1.0, device=device)).values
    committed = torch.stack([state.committed for state in states]).to(device)
    tokens = torch.where(committed, torch.stack([state.tokens for state in states]).to(device), black)
    rows = rearrange(tokens, "f b n -> (f b) n")
    images = torch.cat([tokenizer.decode(Tokens(part, tokenizer.spec.grid)).float().cpu() for part in rows.split(100)])
    frames = rearrange(images, "(f b) c h w -> f b c h w", f=len(states))
    t, h, w = tokenizer.spec.grid
    grids = rearrange(committed.cpu(), "f b (t h w) -> f b t h w", t=t, h=h, w=w)
    return Film(frames, grids, [state.forward_passes for state in states])


def curve(run: Path, title: str, unit: str, lines: dict[str, str], points: dict[str, str]) -> Curve:
    """What a run logged.

    Args:
        run: its folder.
        title: of the curve.
        unit: of its figures.
        lines: name of a line -> logged metric, such as `train/ar`.
        points: name of a line -> logged metric, such as `val/ar`.
    """
    rows = logged(run)

    def column(metric: str) -> list[tuple[float, float]]:
        return [(row["step"] + 1, row[metric]) for row in rows if metric in row]

    drawn = {name: column(metric) for name, metric in lines.items()}
    return Curve(title, unit, drawn, {name: column(metric) for name, metric in points.items()})


def logged(run: Path) -> list[dict[str, float]]:
    """The rows of a run's CSV logs (a resumed run has several), each with what it holds, in the order of steps."""
    rows = []
    for file in run.glob("logs/csv/version_*/metrics.csv"):
        with file.open(newline="") as opened:
            rows += [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(opened)]
    return sorted(rows, key=lambda row: row["step"])


def mask_pictures(modes: dict[str, Paradigm]) -> list[MaskPicture]:
    """The whole catalogue, those masks first that the modes train and sample under.

    Args:
        modes: name -> paradigm.
    """
    used: dict[str, list[str]] = {}
    for mode, paradigm in modes.items():
        used.setdefault(paradigm.mask.name, []).append(mode)
    names = [*used, *(name for name in CATALOGUE if name not in used)]
    return [_mask_picture(name, used.get(name, [])) for name in names]


def _mask_picture(name: str, modes: list[str]) -> MaskPicture:
    mask = get_mask(name)
    card = mask_image(mask, *example(name), scale=_SCALE)
    size = (round(card.width / _SCALE), round(card.height / _SCALE))
    return MaskPicture(name, mask.sentence, webp_bytes(card), size, modes)
