"""Actions stay beside their frames: in batches, on disk and back; where they cannot, that is told."""

import pytest
import torch
import torch.nn.functional as F

from mmgen.core.errors import UserError
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data import DataModule
from mmgen.data.sources import CachedTokens, Samples, Source
from mmgen.data.tokenize import write_shards
from mmgen.tokenizers import Reconstruction, Tokenizer

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
