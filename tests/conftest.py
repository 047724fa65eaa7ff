import signal

import pytest
import torch

from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers import Reconstruction, Tokenizer
from tests.slow import is_slow


def pytest_configure():
    """A job that a shell runs in the background ignores Ctrl-C, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, pytest.Function) and is_slow(item):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Means(Tokenizer):
    """4 x 4 tokens of 28 x 28 images: each one the mean of 7 x 7 pixels, in 256 levels, rotated by a weight."""

    def __init__(self, shift: int = 3):
        super().__init__()
        self.spec = TokenSpec("categorical", 256, (1, 4, 4))
        self.sample_shape = (1, 28, 28)
        self.register_buffer("shift", torch.tensor(shift))

    def encode(self, x):
        self.check_samples(x)
        level = ((torch.nn.functional.avg_pool2d(x, 7) + 1) * 127.5).round().long()
        return Tokens((level.flatten(1) + self.shift) % 256, self.spec.grid)

    def decode(self, tokens):
        level = (self.check_tokens(tokens) - self.shift) % 256
        return (level.view(-1, 1, 4, 4) / 127.5 - 1).repeat_interleave(7, 2).repeat_interleave(7, 3)

    def forward(self, x):
        tokens = self.encode(x)
        return Reconstruction(self.decode(tokens), tokens, {})


@pytest.fixture
def card(tmp_path):
    """The folder of a recipe that has no figures yet."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    return folder


@pytest.fixture
def means():
    return Means().eval()
