"""Partial results as HTML that carries all its bytes with it, so that nothing is written to a disk."""

import base64
from collections.abc import Iterator

from markupsafe import escape

from mmgen.media.audio import wav_bytes
from mmgen.media.images import animation_bytes, png_bytes
from mmgen.sampling.preview import Preview

_FIRST, _OTHERS = (520, 720), (200, 720)  # height and width that a picture may take on the page, in pixels
_MOST_TIMES = 16  # enlarged no more than that
_SECOND = 150  # pixels of a spectrogram


def render_preview(preview: Preview) -> str:
    """A partial result for the page."""
    state = "done" if preview.last else "making"
    bar = f'<div class="bar"><i style="width:{100 * min(1.0, max(0.0, preview.progress)):.1f}%"></i></div>'
    caption = f'<p class="caption" role="status">{escape(preview.caption)}</p>'
    parts = _sounds(preview) if preview.sounds else _pictures(preview)
    return f'<div class="shown {state}">{bar}{caption}{"".join(parts)}</div>'


def mistake(message: str) -> str:
    """The one line that says what is wrong."""
    return f'<p class="mistake" role="alert">{escape(" ".join(message.split()))}</p>'


def note(message: str) -> str:
    """A quiet line."""
    return f'<p class="quiet">{escape(message)}</p>'


def _pictures(preview: Preview) -> Iterator[str]:
    saved = None
    if preview.clip is not None:
        ends = [round(1000 * frame / preview.fps) for frame in range(preview.clip.shape[1] + 1)]
        times = [end - begin for begin, end in zip(ends, ends[1:])]
        saved = _uri("image/webp", animation_bytes(list(preview.clip.unbind(1)), "WEBP", times)), "clips.webp"
        yield _image(saved[0], preview.clip.shape[-2:], _FIRST, "the clips", preview.sharp)
    for picture in preview.pictures:
        uri = _uri("image/png", png_bytes(picture))
        room, alt = (_FIRST, "the samples") if saved is None else (_OTHERS, "frame by frame")
        yield _image(uri, picture.shape[-2:], room, alt, preview.sharp)
        saved = saved or (uri, "samples.png")
    if preview.last and saved is not None:
        yield _link(*saved)


def _sounds(preview: Preview) -> Iterator[str]:
    for number, (sound, title) in enumerate(zip(preview.sounds, preview.sound_titles, strict=True)):
        if not sound.numel():
            continue
        uri = _uri("audio/wav", wav_bytes(sound, preview.sample_rate))
        seconds = len(sound) / preview.sample_rate
        picture = ""
        if number < len(preview.pictures):
            style = f'style="width:{_SECOND * preview.pictures[number].shape[-1] / 100:.0f}px"'
            picture = f'<img class="spectrogram" src="{_uri("image/png", png_bytes(preview.pictures[number]))}"'
            picture += f' alt="spectrogram" {style}>'
        # The page's script plays the first sound while it grows; a person can play any of them once it is whole.
        player = f'<audio src="{uri}" preload="auto"{" controls" if preview.last else ""}></audio>'
        link = _link(uri, f"{number:03d}.wav") if preview.last else ""
        head = f"<figcaption>{escape(title)} · {seconds:.1f} s {link}</figcaption>"
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
