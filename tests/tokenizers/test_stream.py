"""Streams of tokenizers: images, caches, what they leave behind and what they refuse; the laws are in test_laws.py."""

import gc

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout
from mmgen.core.tokens import Tokens
from mmgen.tokenizers import QuantizedTokenizer
from mmgen.tokenizers.quantized import QuantizedStream
from mmgen.tokenizers.quantizers import BSQ, Gaussian
from tests.tokenizers.zoo import samples, small, vit


def frames(count: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, count, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def stream_of(window: int | None = None) -> QuantizedStream:
    stream = vit(Gaussian(4), frames=4, window=window).eval().streaming()
    assert isinstance(stream, QuantizedStream)
    return stream


@pytest.mark.parametrize("window", [None, 1, 3])
def test_the_first_frame_is_an_image_bit_for_bit(window: int | None) -> None:
    tokenizer, image = vit(Gaussian(4), frames=4, window=window).eval(), vit(Gaussian(4)).eval()
    image.load_state_dict(tokenizer.state_dict())
    x = frames(3, seed=4)
    stream, one = tokenizer.streaming(), tokenizer.encode(x[:, :, :1])
    first = stream.encode(x[:, :, :1])
    assert torch.equal(first.values, one.values)
    assert torch.equal(first.values, image.encode(x[:, :, 0]).values)
    drawn = stream.decode(first)
    assert torch.equal(drawn, tokenizer.decode(one))
    assert torch.equal(drawn[:, :, 0], image.decode(first))


def test_with_a_window_the_cache_never_grows_and_without_one_it_doubles() -> None:
    room: dict[str, set[int]] = {"bounded": set(), "growing": set()}
    streams = {"bounded": stream_of(3), "growing": stream_of()}
    for chunk in frames(40, seed=5).split([1, 1, 9, 1, 20, 8], 2):
        for name, stream in streams.items():
            stream.decode(stream.encode(chunk))
            encoder, decoder = (each.capacity for each in stream.state.values())
            assert encoder == decoder
            room[name].add(encoder // 4)
    assert room["bounded"] == {5}  # two frames kept, three new at a time
    assert room["growing"] == {1, 2, 11, 22, 44}


def test_an_endless_stream_leaves_nothing_behind() -> None:
    """Layouts are what masks and tables are cached by; those of a frame go when it has left the window."""
    stream, counts = stream_of(2), []
    for frame in frames(12).split(1, 2):
        stream.decode(stream.encode(frame))
        counts.append(sum(type(each) is Layout for each in gc.get_objects()))
    assert len(set(counts[-8:])) == 1


def test_directions_are_independent() -> None:
    tokenizer = small("video vit").double()
    x, stream = samples(tokenizer, 2, 4), tokenizer.streaming()
    ahead = stream.encode(x)  # all of it, before anything is decoded
    drawn = [stream.decode(Tokens(part, (2, 2, 2))) for part in ahead.values.split(8, 1)]
    torch.testing.assert_close(torch.cat(drawn, 2), tokenizer.decode(ahead), rtol=0, atol=1e-10)
    assert (stream.encoded, stream.decoded) == (4, 4)


@pytest.fixture
def clip() -> tuple[QuantizedTokenizer, Tensor, Tokens]:
    """A tokenizer of three frames a token, two clips of ten frames, and their four tokens along time."""
    tokenizer = small("video conv, 3 frames a token").double()
    x = samples(tokenizer, 2, 10)
    return tokenizer, x, tokenizer.encode(x)


def test_what_a_stream_refuses_to_encode_and_that_it_goes_on_afterwards(
    clip: tuple[QuantizedTokenizer, Tensor, Tokens],
) -> None:
    tokenizer, x, whole = clip
    stream, (first, later) = tokenizer.streaming(), x.split([4, 6], 2)
    coded = [stream.encode(first).values]
    for wrong, message in (
        (later[:, :, :4], "multiples of 3 frames, got 4"),
        (later[:1], "encodes 2 clips at once, got 1"),
        (later[:, :, :0], "clips of no frames"),
        (later * 300, "got values from"),
    ):
        with pytest.raises(UserError, match=message):
            stream.encode(wrong)
    coded.append(stream.encode(later).values)
    torch.testing.assert_close(torch.cat(coded, 1), whole.values)


def test_what_a_stream_refuses_to_decode_and_that_it_goes_on_afterwards(
    clip: tuple[QuantizedTokenizer, Tensor, Tokens],
) -> None:
    tokenizer, _, whole = clip
    begun, rest = (Tokens(part, (2, 2, 2)) for part in whole.values.split(8, 1))
    stream = tokenizer.streaming()
    drawn = [stream.decode(begun, 4)]
    for tokens, length, message in (
        (rest, 5, "3 frames a latent, got 5 frames"),
        (rest, 7, "2 latents are 4 to 6 frames to CausalConvTokenizer, not 7"),
        (rest.rows(torch.tensor([0])), None, "decodes 2 clips at once, got 1"),
        (Tokens(rest.values[:, :0], (0, 2, 2)), None, r"grid of \(latents, 2, 2\), got \(0, 2, 2\)"),
    ):
        with pytest.raises(UserError, match=message):
            stream.decode(tokens, length)
    drawn.append(stream.decode(rest))
    torch.testing.assert_close(torch.cat(drawn, 2), tokenizer.decode(whole, 10))
    again = tokenizer.streaming()
    assert [again.decode(part).shape[2] for part in (begun, rest)] == [tokenizer.spec.frames(2), 6]


def test_a_refused_first_chunk_leaves_the_stream_unopened() -> None:
    stream = vit(BSQ(16), frames=4).eval().streaming()
    with pytest.raises(UserError, match="codes 0 to 65535"):
        stream.decode(Tokens(torch.full((3, 4), 2**16), (1, 2, 2)))
    stream.decode(Tokens(torch.zeros(1, 4, dtype=torch.int64), (1, 2, 2)))
    assert stream.decoded == 1
