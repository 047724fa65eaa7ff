"""What is remembered, and what passes without a trace."""

import torch
from torch import Tensor

from mmgen.core.shape_cache import passing, remember


@remember(8)
def ones(length: int) -> Tensor:
    """A docstring."""
    return torch.ones(length)


def test_the_same_object_every_time_but_not_in_passing() -> None:
    cached = ones(3)
    assert ones(3) is cached
    with passing():
        assert ones(3) is not cached
        new = ones(4)
    assert ones(4) is not new  # nothing that was made in passing is found again
    assert ones(3) is cached  # and what was remembered before still is
    assert ones.__doc__ == "A docstring."


def test_passing_ends_with_an_error_too() -> None:
    cached = ones(5)
    try:
        with passing():
            raise KeyError
    except KeyError:
        assert ones(5) is cached


def test_results_serve_training_wherever_they_were_made() -> None:
    with torch.inference_mode():
        first = ones(6)
        with passing():
            second = ones(6)
    assert not first.is_inference() and not second.is_inference()
