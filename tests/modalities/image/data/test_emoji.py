"""Emoji: from a font where there is one, from pictures where there is none; a code point stays in its split."""

from pathlib import Path

import pytest
from PIL import Image, ImageFont

from mmgen.core.errors import UserError
from mmgen.media.images import to_uint8
from mmgen.modalities.image.sources.emoji import NOTO, Emoji
from tests.data.training import everything

HAS_FONT = Path(NOTO).is_file()


@pytest.fixture(scope="module")
def noto():
    if not HAS_FONT:
        pytest.skip("Noto Color Emoji is not installed")
    return Emoji(image_size=24)


def test_a_font_draws_a_thousand_emoji_in_colour_on_white(noto):
    train, val = everything(noto, "train"), everything(noto, "val")
    assert len(train["x"]) > 1000
    assert 100 < len(val["x"]) < len(train["x"]) / 8
    for part in (train, val):
        x = part["x"]
        assert x.shape[1:] == noto.sample_shape == (3, 24, 24)
        corners = x[..., [0, 0, -1, -1], [0, -1, 0, -1]].amin(1)
        assert (corners > 0.95).double().mean() > 0.9
        assert ((x.amax(1) - x.amin(1)).amax((1, 2)) > 0.3).double().mean() > 0.8
        assert (x.amin((1, 2, 3)) < 0.9).all()  # none is empty
        assert part["label"].unique().tolist() == [-1]


def test_captions_are_unicode_names_and_follow_the_samples(noto):
    names = [name for split in ("train", "val") for name in everything(noto, split)["caption"]]
    assert {"thumbs up sign", "grinning face", "snowman without snow", "rocket"} <= set(names)
    assert len(set(names)) == len(names)
    assert not any("fitzpatrick" in name or name.startswith("u+") for name in names)
    samples = noto.samples("train")
    number = samples.numbers.tolist().index(ord("\N{GREEN HEART}"))
    assert samples[number]["caption"] == "green heart"
    vocabulary = noto.conditions["caption"]
    assert set("".join(names)) <= set(vocabulary.alphabet) and max(map(len, names)) <= vocabulary.longest < 100
    red, green, blue = samples[number]["x"][:, 12, 12]
    assert green > max(red, blue)


def test_the_split_depends_on_the_code_point_alone(noto, tmp_path):
    few = Emoji(image_size=24, **Emoji.make_fake(tmp_path))
    for split in ("train", "val"):
        kept = set(range(0x1F600, 0x1F600 + 20)) & set(noto.samples(split).numbers.tolist())
        assert kept == set(few.samples(split).numbers.tolist())


def test_pictures_are_named_by_code_point(tmp_path, caplog):
    for name, colour in (
        ("1F600.png", (255, 0, 0)),
        ("emoji_u1f602.png", (0, 255, 0)),
        ("1f468-200d-1f469.png", (0, 0, 0)),
        ("110000.png", (0, 0, 0)),
        ("smile.png", (0, 0, 0)),
        ("emoji_u1f600.png", (0, 0, 0)),
    ):
        Image.new("RGB", (12, 6), colour).save(tmp_path / name)
    Image.new("RGBA", (6, 6), (0, 0, 255, 0)).save(tmp_path / "1f608.png")  # clear: white
    source = Emoji(image_size=12, folder=tmp_path)
    train, val = everything(source, "train"), everything(source, "val")
    codes = sorted([0x1F600, 0x1F602, 0x1F608])
    assert sorted(train["sample"].tolist() + val["sample"].tolist()) == codes
    assert val["sample"].tolist() == [code for code in codes if code % 10 == 0]
    both = dict(zip([*train["sample"].tolist(), *val["sample"].tolist()], [*train["x"], *val["x"]], strict=True))
    assert to_uint8(both[0x1F600][:, 6, 6]).tolist() == [255, 0, 0]
    assert to_uint8(both[0x1F602][:, 6, 6]).tolist() == [0, 255, 0]
    assert to_uint8(both[0x1F602][:, 0, 6]).tolist() == [255, 255, 255]  # padded, not stretched
    assert to_uint8(both[0x1F608][:, 6, 6]).tolist() == [255, 255, 255]
    assert caplog.messages == [
        f"{tmp_path}: 4 left aside: 3 picture(s) not named by one code point (110000.png),"
        " 1 picture(s) of a code point that has one (emoji_u1f600.png)"
    ]


def test_mistakes_are_told_in_one_line_that_says_how_to_get_a_font(tmp_path, monkeypatch):
    for path, message in (
        (tmp_path / "none.ttf", r"none.ttf does not exist: on Debian, apt install fonts-noto-color-emoji"),
        (tmp_path / "text.ttf", r"text.ttf is no colour bitmap font of 109 pixels"),
    ):
        (tmp_path / "text.ttf").write_text("no font")
        with pytest.raises(UserError, match=message) as caught:
            Emoji(font=path).samples("train")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"is no folder: data.source.folder must hold pictures"):
        Emoji(folder=tmp_path / "none").samples("val")
    with pytest.raises(UserError, match="has no emoji for the val split among its 0"):
        Emoji(folder=tmp_path).samples("val")
    with pytest.raises(UserError, match="at least 1"):
        Emoji(image_size=0)


def test_a_font_without_colour_is_refused(tmp_path, monkeypatch):
    plain = ImageFont.load_default(20)  # Pillow's own
    monkeypatch.setattr(ImageFont, "truetype", lambda path, size: plain)
    (tmp_path / "plain.ttf").touch()
    with pytest.raises(UserError, match="draws no emoji in colour"):
        Emoji(font=tmp_path / "plain.ttf").samples("train")
