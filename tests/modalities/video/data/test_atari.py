"""Atari clips: each frame follows from the action beside it, and what is recorded follows from the arguments."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.modalities.video.sources.atari import Atari, AtariSamples, Console
from tests.data_modules import data_module

ale = pytest.importorskip("ale_py")

SMALL = {"frames": 10, "size": 32, "clips": 12, "held_out": 6}


@pytest.fixture(scope="module")
def boxing():
    return Atari(**SMALL)


@pytest.fixture(scope="module")
def recorded(boxing):
    return {split: boxing.samples(split) for split in ("train", "val")}


def replayed(game, actions, size, skip):
    """Frames of an emulator of its own, which is told nothing but the actions; (n, 3, size, size) uint8."""
    console = ale.ALEInterface()
    console.setFloat("repeat_action_probability", 0.0)
    console.loadROM(ale.roms.get_rom_path(game))
    console.reset_game()
    legal, frames = console.getMinimalActionSet(), []
    for action in actions:
        for _ in range(skip if action >= 0 else 0):
            console.act(legal[action])
        screen = Image.fromarray(console.getScreenRGB())
        frames.append(np.asarray(screen.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(frames))


@pytest.mark.parametrize("split", ["train", "val"])
def test_replaying_the_actions_gives_the_same_frames(recorded, split):
    samples = recorded[split]
    count = 60
    frames = replayed("boxing", samples.actions[:count].tolist(), size=32, skip=4)
    assert frames.equal(samples.frames[:count])
    other = samples.actions[:count].roll(1)  # one frame late is not the same
    other[0] = -1
    assert not replayed("boxing", other.clamp(min=-1).tolist(), size=32, skip=4).equal(samples.frames[:count])


def test_batches_hold_the_action_that_led_to_each_frame(boxing, recorded):
    batch = recorded["train"].take(torch.arange(12))
    assert batch["x"].shape == (12, 3, 10, 32, 32)
    assert batch["action"].shape == (12, 10)
    assert batch["action"].dtype == torch.int64
    assert (batch["action"][:, 0] == -1).all()
    assert 0 <= batch["action"][:, 1:].min() <= batch["action"].max() < boxing.actions == 18
    assert batch["action"][1, 1:].equal(recorded["train"].actions[11:20])
    assert boxing.action_names[:3] == ["noop", "fire", "up"]
    assert "down left fire" in boxing.action_names
    assert batch["label"].tolist() == [-1] * 12
    moving = batch["x"].diff(dim=2).abs().amax((1, 3, 4))
    assert (moving > 0.2).float().mean() > 0.8  # something happens in nearly every frame


def test_the_player_keeps_to_an_action(boxing):
    source = Atari(**(SMALL | {"hold": (3, 3)}))
    runs = torch.unique_consecutive(source._actions(0)[1:], return_counts=True)[1][:-1]
    assert (runs % 3 == 0).all()  # the same action may be chosen twice
    played = torch.cat([boxing._actions(number)[1:] for number in range(0, 200, 2)])
    runs = torch.unique_consecutive(played, return_counts=True)[1]
    share = runs.bincount(minlength=12)[2:7] / len(runs)
    assert share.min() > 0.15  # 2 to 6 frames, about evenly
    assert (played.bincount(minlength=18) / len(played)).sub(1 / 18).abs().max() < 0.01


def test_another_seed_records_another_game(recorded):
    assert not Atari(**SMALL, recording_seed=1).samples("val").actions.equal(recorded["val"].actions)


def test_more_clips_begin_with_those_of_fewer(recorded):
    more = Atari(**(SMALL | {"held_out": 70})).samples("val")  # more than one game holds
    assert (more.actions == -1).sum() == 2
    assert (more.ends - more.starts).min() >= 10
    index = torch.arange(6)
    assert more.take(index)["x"].equal(recorded["val"].take(index)["x"])
    assert more.take(torch.tensor([59, 60]))["x"][1].equal(more.frames[600:610].float().transpose(0, 1) / 127.5 - 1)


def test_held_out_clips_are_of_other_games(recorded):
    train, val = (recorded[split].actions[1:100] for split in ("train", "val"))
    assert (train == val).float().mean() < 0.3
    numbers = torch.cat([recorded[split].take(torch.arange(6))["sample"] for split in ("train", "val")])
    assert numbers.unique().numel() == 12


def test_training_clips_begin_anywhere_within_their_game():
    """Two games of 25 and 12 frames, each frame and action named by its number."""
    number = torch.arange(37)
    frames = number.view(-1, 1, 1, 1).to(torch.uint8)
    starts, ends = torch.tensor([0, 10, 25]), torch.tensor([25, 25, 37])
    samples = AtariSamples(frames, number, starts, ends, length=10, held_out=False)
    index = torch.arange(3).repeat(400)
    batch = samples.augmented(index, torch.arange(1200), seed=3)
    first = ((batch["x"][:, 0, 0, 0, 0] + 1) * 127.5).round().long()
    for clip, last in ((0, 9), (1, 15), (2, 27)):
        assert first[index == clip].unique().equal(torch.arange(int(starts[clip]), last + 1))
    assert batch["action"][:, 1:].equal(first[:, None] + torch.arange(1, 10))
    fixed = samples.take(torch.arange(3))
    assert ((fixed["x"][:, 0, 0, 0, 0] + 1) * 127.5).round().equal(starts.float())
    alone = samples.augmented(index[7:8], torch.tensor([7]), seed=3)
    assert all(alone[name].equal(batch[name][7:8]) for name in alone)


def test_grey_frames_are_the_luminance_of_the_coloured_ones():
    actions = torch.tensor([3, 3, 5])
    colour, grey = (Console("boxing", 40, channels, 2).play(actions).float() for channels in (3, 1))
    assert grey.shape == (4, 1, 40, 40)
    weighted = (colour * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    assert (weighted - grey).abs().max() < 3


def test_a_game_ends_when_it_is_over():
    frames = Console("boxing", 8, 1, frame_skip=100).play(torch.zeros(100, dtype=torch.int64))
    assert 60 < len(frames) < 80  # two minutes of 60 frames a second


def test_games_that_end_too_early_are_told(monkeypatch):
    source = Atari(**SMALL)
    monkeypatch.setattr(source.console, "play", lambda actions: torch.zeros(5, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"games of boxing end before 10 frames: set data.source.frames lower"):
        source.samples("train")


def test_facts_are_known_before_recording():
    data = data_module(Atari, "pong", frames=6, size=20, channels=1, frame_skip=3)
    assert (data.source.sample_shape, data.source.fps, data.source.actions, data.source.classes) == (
        (1, 6, 20, 20),
        20,
        6,
        0,
    )
    assert data.source.action_names == ["noop", "fire", "right", "left", "right fire", "left fire"]
    assert data.source._splits == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "boxin"}, "no game 'boxin'; did you mean 'boxing'"),
        ({"game": "Pong"}, "did you mean 'pong'"),
        ({"frames": 0}, "data.source.frames must be at least 1"),
        ({"frame_skip": 0}, "data.source.frame_skip must be at least 1"),
        ({"channels": 2}, "data.source.channels must be 3 for colour or 1 for grey"),
        ({"hold": (0, 2)}, r"data.source.hold .* got \[0, 2\]"),
        ({"hold": (3, 2)}, "data.source.hold"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        Atari(**changes)


def test_without_ale_py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UserError, match=r"pip install 'mmgen\[data\]'"):
        Atari()
