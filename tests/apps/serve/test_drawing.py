"""The page carries the bytes of what was made, and nothing that a text could smuggle in."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from mmgen.apps.serve.drawing import mistake, note, render_preview
from mmgen.media.images import to_uint8
from mmgen.sampling.preview import Preview


def carried(html: str, kind: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(rf'<\w+[^>]* src="data:{kind};base64,([^"]+)"', html)]


def test_a_picture_arrives_as_it_is() -> None:
    picture = torch.rand(1, 12, 20) * 2 - 1
    html = render_preview(Preview("so far", 0.25, pictures=[picture]))
    (png,) = carried(html, "image/png")
    assert np.array_equal(np.array(Image.open(io.BytesIO(png))), to_uint8(picture)[0].numpy())
    assert "making" in html
    assert "width:25.0%" in html
    assert 'width="320" height="192"' in html  # sixteen times
    assert "download" not in html


def test_large_pictures_fit_the_page() -> None:
    html = render_preview(Preview("", 1.0, pictures=[torch.zeros(3, 1040, 100)]))
    assert 'width="50" height="520"' in html


def test_a_clip_plays_at_its_rate_and_can_be_kept() -> None:
    clip = torch.rand(3, 5, 8, 8) * 2 - 1
    html = render_preview(Preview("done", 1.0, last=True, clip=clip, fps=8.0, pictures=[torch.zeros(1, 4, 9)]))
    (webp,) = carried(html, "image/webp")
    image = Image.open(io.BytesIO(webp))
    assert image.n_frames == 5
    lengths = []
    for number in range(5):
        image.seek(number)
        image.load()
        lengths.append(image.info["duration"])
        assert np.array_equal(np.array(image.convert("RGB")), to_uint8(clip[:, number]).permute(1, 2, 0).numpy())
    assert sum(lengths) == 625
    assert html.count("download=") == 1


def test_sounds_can_be_played_once_they_are_whole() -> None:
    sounds, told = [torch.zeros(800), torch.zeros(400)], ["<b>ada</b>", "bob"]
    shown = {"pictures": [torch.zeros(3, 8, 10)] * 2, "sounds": sounds, "sample_rate": 8000, "sound_titles": told}
    making, done = render_preview(Preview("", 0.5, **shown)), render_preview(Preview("", 1.0, last=True, **shown))
    assert [len(wav) for wav in carried(done, "audio/wav")] == [44 + 1600, 44 + 800]
    assert making.count("<audio") == done.count(" controls>") == 2
    assert " controls" not in making
    assert "<b>" not in done


def test_what_a_person_wrote_is_never_markup() -> None:
    for html in (mistake("no <img src=x>\nhere"), note("<script>"), render_preview(Preview("<script>", 0.0))):
        assert "<script" not in html
        assert "<img" not in html
    assert mistake("two\nlines").count("\n") == 0
