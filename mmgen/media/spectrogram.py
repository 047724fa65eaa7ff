"""Sounds as pictures: log-mel spectrograms in colour, with a text above each and seconds below."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.media.images import enlarge, from_pil, load_font, to_pil
from mmgen.media.log_mel import LogMel

FRAMES = 100
"""Columns of a spectrogram, a second."""

FLOOR = 1e-4  # magnitude of the darkest colour, about 80 dB below a full-scale tone
_LOUDEST = 0.3  # magnitude of the brightest one: speech goes no higher but for moments
_WINDOW = 0.032  # seconds: long enough to tell the pitch of a voice, short enough to tell a plosive
_BINS = (80, 64, 48, 32, 20, 12, 8, 4, 2, 1)  # mel bands, as many as the sample rate has room for
_COLOURS = "#05040d #1b1044 #4f127b #812581 #b5367a #e55064 #fb8761 #fec287 #fbfdbf"  # even steps to the eye
_INK, _FADED, _PAPER, _MARK = "#1f2328", "#626c77", "#ffffff", "#39c5ff"
_HEAD, _FOOT, _GAP = 17, 14, 8  # pixels
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # seconds between two of them
_ROOM = 44  # pixels between two ticks, at least


def spectrogram(sound: Tensor, sample_rate: int) -> Tensor:
    """A sound's log-mel spectrogram in colour, low pitches below, a column every 10 ms.

    The scale is the same for all sounds: from 80 dB below a full-scale tone, dark, to 10 dB below it.

    Args:
        sound: (1, T) or (T,) in [-1, 1].
        sample_rate: in Hz, at least 100.

    Returns:
        (3, bins, about 100 T / sample_rate) in [-1, 1]; 80 bins but for low rates.

    Raises:
        UserError: it has no samples, or a rate too low.
    """
    low, high = np.log(FLOOR), np.log(_LOUDEST)
    shade = ((_levels(sound, sample_rate) - low) / (high - low)).clamp(0, 1).flip(0)
    return rearrange(_palette()[(shade * 255).round().long()], "h w c -> c h w")


def mel_distance_db(one: Tensor, other: Tensor, sample_rate: int) -> float:
    """The mean absolute difference of the spectrograms of two sounds (1, T) in dB; raises as `spectrogram`."""
    difference = _levels(one, sample_rate) - _levels(other, sample_rate)
    return 20 / np.log(10) * difference.abs().mean().item()


def spectrogram_sheet(
    sounds: Sequence[Tensor],
    sample_rate: int,
    titles: Sequence[str],
    columns: int | None = None,
    times: int = 2,
    marks: Sequence[Sequence[float]] | None = None,
) -> Tensor:
    """Spectrograms on one sheet, all on one scale of time and of loudness.

    Args:
        sounds: at least one (1, T) in [-1, 1], of any lengths.
        sample_rate: in Hz.
        titles: the text above each; cut where it is too long.
        columns: sounds a row; one for few, otherwise as many as make the sheet about as wide as high.
        times: pixels a point of a spectrogram.
        marks: seconds at which each has a line across, such as the ends of a span.

    Returns:
        (3, H, W) in [-1, 1].

    Raises:
        UserError: as `spectrogram`.
    """
    drawn = [enlarge(spectrogram(sound, sample_rate), times) for sound in sounds]
    width, height = max(each.shape[2] for each in drawn), drawn[0].shape[1]
    tile = (width + _GAP, _HEAD + height + _FOOT + _GAP)
    if columns is None:
        square = round((len(drawn) * tile[1] / tile[0]) ** 0.5)
        columns = 1 if len(drawn) <= 3 else max(1, min(square, len(drawn)))
    rows = -(-len(drawn) // columns)
    sheet = Image.new("RGB", (columns * tile[0] + _GAP, rows * tile[1] + _GAP), _PAPER)
    second = width / max(each.shape[-1] for each in sounds) * sample_rate  # pixels
    for number, (picture, text) in enumerate(zip(drawn, titles, strict=True)):
        left, top = _GAP + number % columns * tile[0], _GAP + number // columns * tile[1]
        lines = () if marks is None else marks[number]
        sheet.paste(_labelled(picture, text, width, second, [line * second for line in lines]), (left, top))
    return from_pil(sheet)


def _levels(sound: Tensor, sample_rate: int) -> Tensor:
    """(bins, frames) natural logarithms of magnitudes."""
    if not sound.numel() or sample_rate < FRAMES:
        raise UserError(
            f"a spectrogram needs a sound at {FRAMES} Hz or more, got {sound.numel()} samples at {sample_rate} Hz"
        )
    return _mel(sample_rate)(sound.detach().float().cpu().reshape(1, 1, -1))[0]


def _labelled(picture: Tensor, text: str, width: int, second: float, lines: Sequence[float]) -> Image.Image:
    """A spectrogram below its text and above its seconds, on paper of a width."""
    height = picture.shape[1]
    image = Image.new("RGB", (width, _HEAD + height + _FOOT), _PAPER)
    image.paste(to_pil(picture), (0, _HEAD))
    draw = ImageDraw.Draw(image)
    draw.text((0, 1), _cut(text, width), _INK, load_font(12))
    below = _HEAD + height
    step = next((step for step in _TICKS if step * second >= _ROOM), _TICKS[-1])
    for number in range(int(picture.shape[2] / second / step + 1e-6) + 1):
        at = number * step * second
        draw.line((at, below, at, below + 3), _FADED)
        words = f"{number * step:g}" + (" s" if number == 0 else "")
        if at + load_font(9).getlength(words) + 2 <= width:
            draw.text((at + 2, below + 2), words, _FADED, load_font(9))
    for at in lines:
        draw.line((min(at, width - 1), _HEAD, min(at, width - 1), below - 1), _MARK)
    return image


def _cut(text: str, width: int) -> str:
    """As much of a text as has room in `width` pixels."""
    if load_font(12).getlength(text) <= width:
        return text
    while text and load_font(12).getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@lru_cache(maxsize=8)
def _mel(sample_rate: int) -> LogMel:
    hop = max(1, round(sample_rate / FRAMES))
    window = max(2 * hop, 2 ** round(np.log2(_WINDOW * sample_rate)))
    for bins in _BINS:
        try:
            return LogMel(sample_rate, window, hop, bins, FLOOR)
        except UserError:  # fewer frequencies than bands
            continue
    raise UserError(f"a spectrogram cannot be drawn at {sample_rate} Hz")


@lru_cache(maxsize=1)
def _palette() -> Tensor:
    """(256, 3) in [-1, 1], from dark to bright."""
    stops = np.array([ImageColor.getrgb(colour) for colour in _COLOURS.split()])
    at = np.linspace(0, 1, len(stops))
    shades = np.stack([np.interp(np.linspace(0, 1, 256), at, channel) for channel in stops.T], axis=1)
    return torch.from_numpy(shades).float() / 127.5 - 1
