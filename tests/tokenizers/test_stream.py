"""Streams of tokenizers: chunks equal the whole, whatever the chunks; and what a stream refuses."""

import gc
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.tokenizers import Reconstruction, TimedTokenizer, TokenizerStream, ViT
from mmgen.tokenizers.quantized import QuantizedStream
from mmgen.tokenizers.quantizers import BSQ, Gaussian
from tests.tokenizers.test_vit import small, uniform

CHUNKS = st.lists(st.integers(1, 7), min_size=1, max_size=6)
WINDOWS = pytest.mark.parametrize("window", [None, 1, 3])


class Sums(TimedTokenizer):
    """One number a latent: the sum of all frames so far, in groups of three with the remainder first. It is decoded to
    the mean step of its group.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sample_shape = (1, 7, 1, 1)
        self.spec = TokenSpec("continuous", 1, (1, 1, 1), modality="video", stride=3).with_frames(7)

    def encode(self, x: Tensor) -> Tokens:
        return SumsStream(self).encode(x)

    def decode(self, tokens: Tokens, frames: int | None = None) -> Tensor:
        return SumsStream(self).decode(tokens, frames)

    def forward(self, x: Tensor) -> Reconstruction:
        raise NotImplementedError

    def streaming(self) -> TokenizerStream:
        return SumsStream(self)


class SumsStream(TokenizerStream):
    def __init__(self, tokenizer: Sums) -> None:
        super().__init__(tokenizer)
        self.sum, self.last = torch.zeros(1), torch.zeros(1)

    def encode_chunk(self, x: Tensor) -> Tokens:
        frames = x[:, 0, :, 0, 0]
        first = (frames.shape[1] - 1) % 3 + 1
        sums = self.sum[:, None] + frames.cumsum(1)[:, first - 1 :: 3]
        self.sum = sums[:, -1]
        return Tokens(sums[..., None], (sums.shape[1], 1, 1))

    def decode_chunk(self, tokens: Tokens, frames: int) -> Tensor:
        sums = tokens.values[..., 0]
        counts = torch.tensor([(frames - 1) % 3 + 1] + [3] * (sums.shape[1] - 1))
        steps = (sums - torch.cat([self.last.expand(len(sums))[:, None], sums[:, :-1]], 1)) / counts
        self.last = sums[:, -1]
        return steps.repeat_interleave(counts, 1)[:, None, :, None, None]


def in_chunks(x: Tensor, sizes: Iterable[int]) -> list[Tensor]:
    """Consecutive frames of x (B, C, T, H, W)."""
    return list(x.split(list(sizes), dim=2))


def in_pieces(tokens: Tokens, sizes: Iterable[int]) -> list[Tokens]:
    """Consecutive latents."""
    place = tokens.grid[1] * tokens.grid[2]
    pieces = tokens.values.split([place * n for n in sizes], dim=1)
    return [Tokens(values, (values.shape[1] // place, *tokens.grid[1:])) for values in pieces]


def streamed(tokenizer: TimedTokenizer, x: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """All tokens, and all frames of the clip's tokens (as the whole is encoded), chunk by chunk and in turn."""
    stream, tokens = tokenizer.streaming(), tokenizer.encode(x)
    latents = [tokenizer.spec.latents(sum(sizes[: n + 1])) for n in range(len(sizes))]
    pieces = in_pieces(tokens, [b - a for a, b in pairwise([0, *latents])])
    coded, drawn = [], []
    for chunk, piece, size in zip(in_chunks(x, sizes), pieces, sizes, strict=True):
        coded.append(stream.encode(chunk).values)
        drawn.append(stream.decode(piece, size))
        assert drawn[-1].shape == chunk.shape and not drawn[-1].requires_grad
    return torch.cat(coded, 1), torch.cat(drawn, 2)


def vit(window: int | None = None, discrete: bool = False, **changes: Any) -> ViT:
    return small(BSQ(16) if discrete else Gaussian(4), frames=4, window=window, **changes)


@WINDOWS
@settings(max_examples=12, deadline=None)
@given(sizes=CHUNKS)
def test_any_chunks_equal_the_whole(window: int | None, sizes: list[int]) -> None:
    x = uniform(2, 3, sum(sizes), 8, 8, seed=1)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        tokenizer = vit(window).to(dtype)
        whole = tokenizer.encode(x.to(dtype))
        values, frames = streamed(tokenizer, x.to(dtype), sizes)
        torch.testing.assert_close(values, whole.values, rtol=0, atol=tolerance)
        torch.testing.assert_close(frames, tokenizer.decode(whole), rtol=0, atol=tolerance)


@settings(max_examples=12, deadline=None)
@given(first=st.integers(1, 7), later=st.lists(st.sampled_from([3, 6, 9]), max_size=4))
def test_chunks_of_a_tokenizer_with_a_stride(first: int, later: list[int]) -> None:
    x = uniform(2, 1, first + sum(later), 1, 1, seed=2)
    whole = Sums().encode(x)
    values, frames = streamed(Sums(), x, [first, *later])
    torch.testing.assert_close(values, whole.values)
    torch.testing.assert_close(frames, Sums().decode(whole, x.shape[2]))


@WINDOWS
def test_frame_by_frame_to_four_times_the_trained_length(window: int | None) -> None:
    tokenizer = vit(window, discrete=True).double()
    x = uniform(1, 3, 16, 8, 8, seed=3).double()
    values, frames = streamed(tokenizer, x, [1] * 16)
    whole = tokenizer.encode(x)
    assert torch.equal(values, whole.values)
    torch.testing.assert_close(frames, tokenizer.decode(whole), rtol=0, atol=1e-10)


@WINDOWS
def test_the_first_frame_is_an_image_bit_for_bit(window: int | None) -> None:
    tokenizer, image = vit(window), small(Gaussian(4))
    image.load_state_dict(tokenizer.state_dict())
    x = uniform(2, 3, 3, 8, 8, seed=4)
    stream, one = tokenizer.streaming(), tokenizer.encode(x[:, :, :1])
    first = stream.encode(x[:, :, :1])
    assert torch.equal(first.values, one.values)
    assert torch.equal(first.values, image.encode(x[:, :, 0]).values)
    drawn = stream.decode(first)
    assert torch.equal(drawn, tokenizer.decode(one))
    assert torch.equal(drawn[:, :, 0], image.decode(first))


def test_with_a_window_the_cache_never_grows_and_without_one_it_doubles() -> None:
    x = uniform(1, 3, 40, 8, 8, seed=5)
    streams = {"bounded": vit(window=3).streaming(), "growing": vit().streaming()}
    room: dict[str, set[int]] = {"bounded": set(), "growing": set()}
    for chunk in in_chunks(x, [1, 1, 9, 1, 20, 8]):
        for name, stream in streams.items():
            assert isinstance(stream, QuantizedStream)
            stream.decode(stream.encode(chunk))
            encoder, decoder = (each.capacity for each in stream.state.values())
            assert encoder == decoder
            room[name].add(encoder // 4)
    assert room["bounded"] == {5}  # two frames kept, three new at a time
    assert room["growing"] == {1, 2, 11, 22, 44}


def test_an_endless_stream_leaves_nothing_behind() -> None:
    """Layouts are what masks and tables are remembered by; those of a frame go when it has left the window."""
    stream, counts = vit(window=2).streaming(), []
    for frame in in_chunks(uniform(1, 3, 12, 8, 8), [1] * 12):
        stream.decode(stream.encode(frame))
        counts.append(sum(type(each) is Layout for each in gc.get_objects()))
    assert len(set(counts[-8:])) == 1


def test_streams_share_a_tokenizer_and_directions_are_independent() -> None:
    tokenizer = vit().double()
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    x, y = uniform(2, 3, 4, 8, 8, seed=6).double(), uniform(1, 3, 4, 8, 8, seed=7).double()
    one, other = tokenizer.streaming(), tokenizer.streaming()
    ahead = one.encode(x)  # all of it, before anything is decoded
    of_y = [other.encode(chunk).values for chunk in in_chunks(y, [1, 3])]
    drawn = [one.decode(piece) for piece in in_pieces(ahead, [2, 2])]
    torch.testing.assert_close(torch.cat(of_y, 1), tokenizer.encode(y).values, rtol=0, atol=1e-10)
    torch.testing.assert_close(torch.cat(drawn, 2), tokenizer.decode(ahead), rtol=0, atol=1e-10)
    assert (one.encoded, one.decoded, other.encoded, other.decoded) == (4, 4, 4, 0)
    assert all(torch.equal(before[name], value) for name, value in tokenizer.state_dict().items())


def test_a_stream_goes_on_in_and_out_of_inference_mode() -> None:
    tokenizer = vit(window=3).double()  # whose cache is written in place
    x = uniform(1, 3, 3, 8, 8, seed=8).double()
    stream, coded = tokenizer.streaming(), []
    for inference, chunk in zip((True, False, True), in_chunks(x, [1, 1, 1]), strict=True):
        with torch.inference_mode(inference):
            tokens = stream.encode(chunk.clone())
            stream.decode(tokens)
            coded.append(tokens.values)
    torch.testing.assert_close(torch.cat(coded, 1), tokenizer.encode(x).values, rtol=0, atol=1e-10)


def test_bfloat16_weights_and_autocast() -> None:
    x = uniform(1, 3, 3, 8, 8, seed=9)
    tokenizer = vit(window=2)
    with torch.autocast("cpu", torch.bfloat16):
        assert streamed(tokenizer, x, [1, 2])[1].shape == x.shape
    assert streamed(tokenizer.bfloat16(), x.bfloat16(), [1, 2])[1].dtype == torch.bfloat16


def test_what_a_stream_refuses_and_that_it_goes_on_afterwards() -> None:
    x = uniform(2, 1, 10, 1, 1, seed=10)
    stream, whole = Sums().streaming(), Sums().encode(x)
    first, later = in_chunks(x, [4, 6])
    coded = [stream.encode(first).values]
    for wrong, message in (
        (later[:, :, :4], "multiples of 3 frames, got 4"),
        (later[:1], "encodes 2 clips at once, got 1"),
        (later[:, :, :0], "clips of no frames"),
        (later[:, 0], r"\(batch, 1, frames, 1, 1\) .* got shape \(2, 6, 1, 1\)"),
        (later.repeat(1, 1, 1, 2, 1), r"got shape \(2, 1, 6, 2, 1\)"),
        (later * 300, "got values from"),
    ):
        with pytest.raises(UserError, match=message):
            stream.encode(wrong)
    coded.append(stream.encode(later).values)
    torch.testing.assert_close(torch.cat(coded, 1), whole.values)

    begun, rest = in_pieces(whole, [2, 2])
    drawn = [stream.decode(begun, 4)]
    for tokens, frames, message in (
        (rest, 5, "3 frames a latent, got 5 frames"),
        (rest, 7, "2 latents are 4 to 6 frames to Sums, not 7"),
        (rest.rows(torch.tensor([0])), None, "decodes 2 clips at once, got 1"),
        (Tokens(rest.values[:, :0], (0, 1, 1)), None, r"grid of \(latents, 1, 1\), got \(0, 1, 1\)"),
    ):
        with pytest.raises(UserError, match=message):
            stream.decode(tokens, frames)
    drawn.append(stream.decode(rest))
    torch.testing.assert_close(torch.cat(drawn, 2), Sums().decode(whole, 10))


def test_a_refused_first_chunk_leaves_the_stream_unopened() -> None:
    stream = vit(discrete=True).streaming()
    with pytest.raises(UserError, match="codes 0 to 65535"):
        stream.decode(Tokens(torch.full((3, 4), 2**16), (1, 2, 2)))
    stream.decode(Tokens(torch.zeros(1, 4, dtype=torch.int64), (1, 2, 2)))
    assert stream.decoded == 1


def test_by_default_the_first_latent_has_the_frames_of_the_spec() -> None:
    tokens = Sums().encode(uniform(1, 1, 7, 1, 1))
    stream = Sums().streaming()
    assert [stream.decode(piece).shape[2] for piece in in_pieces(tokens, [1, 2])] == [1, 6]
    assert Sums().decode(tokens).shape[2] == 7


def test_images_have_no_stream() -> None:
    with pytest.raises(UserError, match="ViTTokenizer codes whole samples only"):
        small().streaming()
