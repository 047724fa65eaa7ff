"""Partial results as HTML that carries all its bytes with it, so that nothing is written to a disk."""

import base64
from collections.abc import Iterator

from markupsafe import escape

from mmgen.media.audio import wav_bytes
from mmgen.media.images import animation_bytes, png_bytes
from mmgen.sampling.preview import Shown

_FIRST, _OTHERS = (520, 720), (200, 720)  # height and width that a picture may take on the page, in pixels
_MOST_TIMES = 16  # enlarged no more than that
_SECOND = 150  # pixels of a spectrogram


def drawn(shown: Shown) -> str:
    """A partial result for the page."""
    state = "done" if shown.last else "making"
    bar = f'<div class="bar"><i style="width:{100 * min(1.0, max(0.0, shown.progress)):.1f}%"></i></div>'
    caption = f'<p class="caption" role="status">{escape(shown.caption)}</p>'
    parts = _sounds(shown) if shown.sounds else _pictures(shown)
    return f'<div class="shown {state}">{bar}{caption}{"".join(parts)}</div>'


def mistake(message: str) -> str:
    """The one line that says what is wrong."""
    return f'<p class="mistake" role="alert">{escape(" ".join(message.split()))}</p>'


def note(message: str) -> str:
    """A quiet line."""
    return f'<p class="quiet">{escape(message)}</p>'


def _pictures(shown: Shown) -> Iterator[str]:
    kept = None
    if shown.clip is not None:
        ends = [round(1000 * frame / shown.fps) for frame in range(shown.clip.shape[1] + 1)]
        times = [end - begin for begin, end in zip(ends, ends[1:])]
        kept = _uri("image/webp", animation_bytes(list(shown.clip.unbind(1)), "WEBP", times)), "clips.webp"
        yield _image(kept[0], shown.clip.shape[-2:], _FIRST, "the clips", shown.sharp)
    for picture in shown.pictures:
        uri = _uri("image/png", png_bytes(picture))
        room, alt = (_FIRST, "the samples") if kept is None else (_OTHERS, "frame by frame")
        yield _image(uri, picture.shape[-2:], room, alt, shown.sharp)
        kept = kept or (uri, "samples.png")
    if shown.last and kept is not None:
        yield _link(*kept)


def _sounds(shown: Shown) -> Iterator[str]:
    for number, (sound, told) in enumerate(zip(shown.sounds, shown.told, strict=True)):
        if not sound.numel():
            continue
        uri = _uri("audio/wav", wav_bytes(sound, shown.sample_rate))
        seconds = len(sound) / shown.sample_rate
        picture = ""
        if number < len(shown.pictures):
            style = f'style="width:{_SECOND * shown.pictures[number].shape[-1] / 100:.0f}px"'
            picture = f'<img class="spectrogram" src="{_uri("image/png", png_bytes(shown.pictures[number]))}"'
            picture += f' alt="spectrogram" {style}>'
        # The page's script plays the first sound while it grows; a person can play any of them once it is whole.
        player = f'<audio src="{uri}" preload="auto"{" controls" if shown.last else ""}></audio>'
        link = _link(uri, f"{number:03d}.wav") if shown.last else ""
        head = f"<figcaption>{escape(told)} · {seconds:.1f} s {link}</figcaption>"
        yield f'<figure class="sound">{head}{picture}{player}</figure>'


def _image(uri: str, size: tuple[int, ...], room: tuple[int, int], alt: str, sharp: bool) -> str:
    """As large as there is room, at a whole number of screen pixels for each of its own if it is small."""
    (height, width), (high, wide) = size, room
    times = min(high / height, wide / width, _MOST_TIMES)
    times = int(times) if times >= 1 else times
    measure = f'width="{times * width:.0f}" height="{times * height:.0f}"'
    return f'<img class="{"sharp" if sharp else "smooth"}" src="{uri}" alt="{alt}" {measure}>'


def _link(uri: str, name: str) -> str:
    return f'<a class="keep" href="{uri}" download="{name}">save</a>'


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
