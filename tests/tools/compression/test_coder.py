import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmgen.tools.compression.coder import Decoder, Encoder


def laws(count: int, choices: int, sharpness: float, seed: int) -> tuple[Tensor, Tensor]:
    """Laws (count, choices) and a symbol of each."""
    source = torch.Generator().manual_seed(seed)
    probs = (sharpness * torch.randn(count, choices, generator=source, dtype=torch.float64)).softmax(-1)
    return probs, torch.multinomial(probs, 1, generator=source)[:, 0]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 400),
    choices=st.integers(1, 300),
    sharpness=st.sampled_from([0.0, 1.0, 8.0, 100.0]),
    seed=st.integers(0, 99),
)
def test_symbols_come_back_and_take_what_they_should(count: int, choices: int, sharpness: float, seed: int) -> None:
    probs, symbols = laws(count, choices, sharpness, seed)
    encoder = Encoder()
    parts = [slice(0, count // 3), slice(count // 3, count)]  # the decoder asks in other portions
    for part in (part for part in parts if len(symbols[part])):
        encoder.put(probs[part], symbols[part])
    code = encoder.finish()
    assert torch.equal(Decoder(code).take(probs), symbols)
    ideal = -probs.gather(1, symbols[:, None]).log2().sum().item()
    assert encoder.bits == pytest.approx(ideal, abs=1e-9)
    rounding = count * choices * 2**-24 / math.log(2)  # what the module's head promises
    assert 8 * len(code) <= ideal + rounding + 64
    assert 8 * len(code) >= ideal - 32


def test_what_is_impossible_under_the_law_is_still_coded() -> None:
    probs = torch.tensor([[1.0, 0.0, 0.0]] * 3, dtype=torch.float64)
    encoder = Encoder()
    encoder.put(probs, torch.tensor([2, 0, 1]))
    assert Decoder(encoder.finish()).take(probs).tolist() == [2, 0, 1]
    assert encoder.bits > 1000


def test_shapes_are_kept_and_views_are_read_right() -> None:
    probs, symbols = laws(24, 5, 2.0, 0)
    probs, symbols = probs.view(4, 6, 5).transpose(0, 1), symbols.view(4, 6).T
    encoder = Encoder()
    encoder.put(probs, symbols)
    assert torch.equal(Decoder(encoder.finish()).take(probs), symbols)


def test_words_that_no_symbol_leads_to_are_one_kind_of_error() -> None:
    """Or nonsense is decoded, which a checksum of the symbols tells."""
    probs, _ = laws(64, 4, 8.0, 0)
    source = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(3000):
        code = torch.randint(0, 256, (8,), generator=source, dtype=torch.uint8).numpy().tobytes()
        try:
            assert Decoder(code).take(probs).shape == (64,)
        except ValueError:
            refused += 1
    assert 0 < refused < 3000
