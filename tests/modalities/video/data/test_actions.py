"""Actions stay beside their frames: in batches, on disk and back; where they cannot, that is told."""

import lightning as L
import pytest
import torch
import torch.nn.functional as F

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data import DataModule
from mmgen.data.sources import CachedTokens, Samples, Source
from mmgen.data.tokenize import write_shards
from mmgen.modalities.image.sources.digits import Digits
from mmgen.modalities.video.sources.atari import Atari
from mmgen.tokenizers import Reconstruction, Tokenizer
from tests.data.training import QUIET
from tests.data_modules import data_module

ACTIONS = ["noop", "left", "right"]


class World(Source, Samples):
    """Clips of which each frame is filled with a level of its own, in twelfths; the action is a function of it."""

    fps = 15.0

    def __init__(self, frames=6, acted=True, first=0):
        self.frames, self.first = frames, first
        self.class_names, self.sample_shape = [], (1, frames, 8, 8)
        self.action_names = ACTIONS if acted else []

    def samples(self, split):
        return World(self.frames, bool(self.actions), first=100 * (split == "val"))

    def __len__(self):
        return 7

    def take(self, index):
        number = index + self.first
        level = (number[:, None] + torch.arange(self.frames)) % 12
        x = (level / 6 - 1).view(-1, 1, self.frames, 1, 1).expand(-1, 1, -1, 8, 8)
        batch = {"x": x, "label": torch.full_like(index, -1), "sample": number}
        return batch | ({"action": torch.where(torch.arange(self.frames) == 0, -1, level % 3)} if self.actions else {})


class Levels(Tokenizer):
    """2 x 2 tokens a latent, each the mean of a quarter of its last frame in twelfths; made for clips of 6 frames."""

    def __init__(self, stride=1):
        super().__init__()
        self.spec = TokenSpec("categorical", 13, (6 // stride, 2, 2), modality="video", stride=stride, first=stride)
        self.sample_shape = (1, 6, 8, 8)
        self.register_buffer("weight", torch.tensor(6.0))

    def encode(self, x):
        last = x[:, 0].flip(1)[:, :: self.spec.stride].flip(1)
        level = ((F.avg_pool2d(last, 4) + 1) * self.weight).round().long()
        return Tokens(level.flatten(1), (level.shape[1], 2, 2))

    def decode(self, tokens):
        raise NotImplementedError

    def forward(self, x):
        return Reconstruction(x, self.encode(x), {})


@pytest.fixture
def levels():
    return Levels().eval()


@pytest.fixture
def written(tmp_path, levels):
    write_shards(tmp_path / "tokens", World(), levels, tmp_path / "levels", shard_size=3, batch=13)
    return tmp_path / "tokens"


def same(tokens, action):
    """Each action beside the tokens of the frame it led to."""
    level = tokens.view(len(tokens), -1, 4)[..., 0]
    return action[:, 1:].equal(level[:, 1:].long() % 3) and (action[:, 0] == -1).all()


def test_cached_tokens_bring_their_actions(written):
    source = CachedTokens(written)
    assert (source.fps, source.actions, source.action_names) == (15, 3, ACTIONS)
    for split in ("train", "val"):
        samples, index = source.samples(split), torch.tensor([6, 0, 3])
        batch = samples.take(index)
        assert batch["action"].dtype == torch.int64
        assert batch["action"].equal(World().samples(split).take(index)["action"])
        assert same(batch["values"], batch["action"])
        assert samples[2]["action"].equal(samples.take(torch.tensor([2]))["action"][0])


class Keeper(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.kept = torch.nn.Parameter(torch.zeros(())), []

    def training_step(self, batch, index):
        self.kept.append(batch)
        return self.weight * 1.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_training_meets_the_same_tokens_and_actions_encoded_or_cached(written, levels, monkeypatch):
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: levels)
    kept = []
    for data in (
        DataModule(World(), 4, seed=3, tokenizer="levels"),
        data_module(CachedTokens, str(written), global_batch_size=4, seed=3),
    ):
        assert (data.source.fps, data.source.actions, data.source.action_names) == (15, 3, ACTIONS)
        assert data.spec == levels.spec
        module = Keeper()
        L.Trainer(max_steps=4, limit_val_batches=0, **QUIET).fit(module, data)
        kept.append(module.kept)
    for encoded, cached in zip(*kept, strict=True):
        assert encoded["tokens"].values.equal(cached["tokens"].values)
        assert encoded["tokens"].grid == cached["tokens"].grid == (6, 2, 2)
        assert encoded["action"].equal(cached["action"])
        assert encoded["sample"].equal(cached["sample"])
        assert same(cached["tokens"].values, cached["action"])


def test_without_actions_nothing_of_them_is_stored(tmp_path, levels):
    write_shards(tmp_path / "tokens", World(acted=False), levels, "x")
    source = CachedTokens(tmp_path / "tokens")
    assert (source.actions, list(source.action_names), source.fps) == (0, [], 15)
    assert source.samples("val")[0].keys() == {"values", "label", "sample"}
    assert (Digits().actions, list(Digits().action_names), Digits().fps) == (0, [], None)


def test_a_latent_of_several_frames_has_no_room_for_their_actions(tmp_path, monkeypatch):
    pairs = Levels(stride=2)
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: pairs)
    message = "tokenizer runs/pairs makes one latent of 2 frames, but the data has an action for each frame"
    with pytest.raises(UserError, match=message):
        DataModule(World(), 4, tokenizer="runs/pairs").spec  # noqa: B018
    with pytest.raises(UserError, match=message):
        write_shards(tmp_path / "tokens", World(), pairs, "runs/pairs")
    assert not (tmp_path / "tokens").exists()
    assert DataModule(World(acted=False), 4, tokenizer="runs/pairs").spec == pairs.spec
    write_shards(tmp_path / "tokens", World(acted=False), pairs, "runs/pairs")


def test_clips_of_another_length_have_tokens_of_another_grid(tmp_path, levels, monkeypatch):
    pairs = Levels(stride=2)
    for tokenizer, source, grid, first in (
        (levels, World(frames=9), (9, 2, 2), 1),
        (pairs, World(frames=9, acted=False), (5, 2, 2), 1),
        (pairs, World(frames=4, acted=False), (2, 2, 2), 2),
    ):
        monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path, tokenizer=tokenizer: tokenizer)
        data, out = DataModule(source, 4, tokenizer="x"), tmp_path / str(grid)
        assert (data.spec.grid, data.spec.first) == (grid, first)
        assert data.on_after_batch_transfer(source.take(torch.arange(2)), 0)["tokens"].grid == grid
        write_shards(out, source, tokenizer, "x")
        assert CachedTokens(out).spec == data.spec
        assert CachedTokens(out).samples("val")[0]["values"].shape == (data.spec.length,)


def test_frames_of_another_size_are_refused(levels, monkeypatch, means):
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: levels)
    with pytest.raises(UserError, match=r"takes samples of shape \(1, 6, 8, 8\), but the data has \(1, 28, 28\)"):
        DataModule(Digits(), 4, tokenizer="x").tokenizer  # noqa: B018
    monkeypatch.setattr("mmgen.data.base.load_tokenizer", lambda path: means)
    with pytest.raises(UserError, match=r"takes samples of shape \(1, 28, 28\), but the data has \(1, 6, 8, 8\)"):
        DataModule(World(), 4, tokenizer="x").tokenizer  # noqa: B018


def test_clips_are_not_mirrored_and_encoded_few_at_a_time(tmp_path, levels):
    with pytest.raises(UserError, match=r"--mirror is for images, and the samples have shape \(1, 6, 8, 8\)"):
        write_shards(tmp_path / "tokens", World(), levels, "x", mirror=True)
    for batch, together in ((13, 2), (1, 1)):
        told = []
        write_shards(tmp_path / str(batch), World(), levels, "x", batch=batch, progress=told.append)
        assert told[0] == together
        assert told[-1] == 14


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_fakes_of_clips_have_actions_where_asked_for(tmp_path, kind):
    spec = TokenSpec(kind, 8, (5, 2, 2), modality="video")
    source = CachedTokens(**CachedTokens.make_fake(tmp_path / "fake", 30, spec, actions=4))
    assert (source.spec, source.sample_shape, source.actions, source.fps) == (spec, (1, 5, 28, 28), 4, 10)
    action = torch.stack([item["action"] for item in source.samples("train")])
    assert action.shape == (24, 5)
    assert (action[:, 0] == -1).all()
    assert set(action[:, 1:].unique().tolist()) == {0, 1, 2, 3}


def test_a_real_game_goes_through_shards(tmp_path, levels):
    pytest.importorskip("ale_py")
    atari = Atari(frames=6, size=8, channels=1, clips=5, held_out=2)
    write_shards(tmp_path / "tokens", atari, levels, "x")
    data = data_module(CachedTokens, str(tmp_path / "tokens"))
    assert (data.source.action_names, data.source.fps) == (atari.action_names, 15)
    index = torch.arange(5)
    assert data.samples("train").take(index)["action"].equal(atari.samples("train").take(index)["action"])
