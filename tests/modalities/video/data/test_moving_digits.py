"""Moving digits: whole digits on straight lines that bounce, each clip a function of its number alone."""

import numpy as np
import pytest
import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.video.sources.moving_digits import MovingDigits

SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Digits.make_fake(tmp_path_factory.mktemp("digits"), samples=50)["folder"]


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A folder of 30 digits; all pixels of digit i have the value 4 i + 4, so that a clip tells which it shows."""
    path = tmp_path_factory.mktemp("flat")
    images = np.broadcast_to(4 * np.arange(30, dtype=np.uint8)[:, None, None] + 4, (30, 28, 28))
    np.savez(path / "digits.npz", images=images, labels=np.arange(30) % 7)
    return path


def shown(x):
    """The numbers of the digits of `flat` in a clip."""
    values = ((x + 1) * 127.5).round().long().flatten().bincount().nonzero()[1:, 0]
    return ((values - 4) // 4).tolist()


def test_a_clip_depends_on_its_number_alone(folder):
    few, many = MovingDigits(clips=9, held_out=3, folder=folder), MovingDigits(folder=folder)
    for split in SPLITS:
        index = torch.arange(len(few.samples(split))).flip(0)
        one, other = few.samples(split).take(index), many.samples(split).take(index)
        assert all(one[name].equal(other[name]) for name in one)


def test_a_frame_is_the_whole_digits_at_their_places(folder):
    """The frames of a loop that puts one digit after another into numpy arrays."""
    source = MovingDigits(frames=9, digits=3, size=50, folder=folder)
    samples, index, epoch = source.samples("train"), torch.arange(12), torch.full((12,), 2)
    draws = Draws(4, 2 * index, epoch)
    places = samples.places(draws).round().long()
    assert places.min() == 0
    assert places.max() == 50 - 28
    chosen = (draws.uniform("digit", 3) * len(samples.digits)).long()
    expected = np.zeros((12, 1, 9, 50, 50), np.uint8)
    for clip, digit, frame in np.ndindex(12, 3, 9):
        row, column = places[clip, digit, frame].tolist()
        part = expected[clip, 0, frame, row : row + 28, column : column + 28]
        np.maximum(part, samples.digits.values[chosen[clip, digit], 0].numpy(), out=part)
    x = samples.augmented(index, epoch, 4)["x"]
    assert x.dtype == torch.float32
    assert np.array_equal(((x + 1) * 127.5).round().numpy(), expected)


def test_a_digit_keeps_its_speed_and_bounces_like_a_ball(folder):
    """Against a simulation that goes step by step and turns at the borders."""
    room = 64 - 28
    samples = MovingDigits(frames=60, digits=1, folder=folder).samples("train")
    places = samples.places(Draws(0, torch.arange(400)))[:, 0]
    assert places.min() >= 0
    assert places.max() <= room
    steps = places.diff(dim=1)
    free = torch.isclose(steps[:, 0], steps[:, 1], atol=1e-9).all(1)  # did not bounce in the first two steps
    assert free.sum() > 200
    place, velocity = places[free, 0].clone(), steps[free, 0].clone()
    pace = velocity.norm(dim=1)
    assert 2 <= pace.min() < 2.1 < 4.9 < pace.max() <= 5
    turn = torch.atan2(velocity[:, 0], velocity[:, 1])
    assert ((turn / torch.pi * 2).floor().long() + 2).bincount(minlength=4).min() > free.sum() / 8  # in any direction
    bounces = 0
    for frame in range(1, 60):
        place += velocity
        below, above = place < 0, place > room
        place = torch.where(below, -place, torch.where(above, 2 * room - place, place))
        velocity = torch.where(below | above, -velocity, velocity)
        bounces += int((below | above).sum())
        assert torch.allclose(place, places[free, frame], atol=1e-9)
    assert bounces > 1000


def test_a_longer_clip_begins_with_the_frames_of_a_shorter_one(folder):
    short, long = (MovingDigits(frames=frames, folder=folder) for frames in (12, 31))
    for split in SPLITS:
        index = torch.arange(20)
        first, more = (source.samples(split).take(index) for source in (short, long))
        assert more["x"][:, :, :12].equal(first["x"])
        assert more["label"].equal(first["label"])


def test_held_out_clips_show_held_out_digits_only(flat):
    source = MovingDigits(frames=1, digits=1, clips=300, held_out=100, folder=flat)
    for split, expected in (("train", {i for i in range(30) if i % 5}), ("val", set(range(0, 30, 5)))):
        clips = source.samples(split).take(torch.arange(len(source.samples(split))))["x"]
        assert {digit for clip in clips for digit in shown(clip)} == expected


def test_the_class_is_the_digit_or_the_pair_whichever_came_first(flat):
    pairs = MovingDigits(frames=10, clips=200, folder=flat)
    assert len(pairs.class_names) == len(set(pairs.class_names)) == 55
    batch = pairs.samples("train").take(torch.arange(200))
    for clip, label in zip(batch["x"], batch["label"].tolist(), strict=True):
        digits = [number % 7 for number in shown(clip)]
        digits = digits * 2 if len(digits) == 1 else digits  # one digit twice
        assert pairs.class_names[label] == " ".join(map(str, sorted(digits)))
    alone = MovingDigits(digits=1, clips=50, folder=flat)
    batch = alone.samples("train").take(torch.arange(50))
    assert batch["label"].tolist() == [shown(clip)[0] % 7 for clip in batch["x"]]
    assert alone.class_names == list("0123456789")
    many = MovingDigits(digits=3, folder=flat)
    assert (many.classes, many.samples("val")[0]["label"]) == (0, -1)


def test_training_moves_other_digits_in_every_epoch(folder):
    samples, index = MovingDigits(folder=folder).samples("train"), torch.tensor([3, 0, 7])
    epochs = [samples.augmented(index, torch.full((3,), epoch), seed=1)["x"] for epoch in (0, 1)]
    assert not epochs[0].equal(epochs[1])
    assert not samples.augmented(index, torch.zeros(3, dtype=torch.int64), seed=2)["x"].equal(epochs[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 0}, "data.source.frames must be at least 1"),
        ({"digits": 0}, "data.source.digits must be at least 1"),
        ({"clips": 0}, "data.source.clips must be at least 1"),
        ({"held_out": -1}, "data.source.held_out must be at least 1"),
        ({"size": 28}, "no room to move"),
        ({"speed": (5, 2)}, r"data.source.speed .* got \[5, 2\]"),
        ({"speed": (-1, 2)}, "data.source.speed"),
        ({"speed": (1,)}, "data.source.speed"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        MovingDigits(**changes)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"digits\.npz does not exist"):
        MovingDigits(folder=tmp_path / "none").samples("train")
