"""From what a person asks for to what is shown, one preview after the other."""

from collections.abc import Iterator

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.sampling.texts import text_condition
from mmgen.store.store import Loaded

EVERY = 0.1
"""Seconds between two previews, at least."""


def stream_previews(loaded: Loaded, request: SamplingRequest, every: float = EVERY) -> Iterator[Preview]:
    """Samples while they are made: previews in order, and that of the finished ones last.

    Args:
        loaded: from `mmgen.store.store.load_generator`; everything runs on the device its generator is on.
        request: what a person asks for.
        every: seconds between two previews at least; 0 gives every step. It changes no sample.

    Raises:
        UserError: what is asked for cannot be done with this run.
    """
    if request.text and text_condition(loaded) is None:
        raise UserError(f"{loaded.path} was trained without texts: leave the text empty")
    yield from modality_of(loaded.spec.modality).stream(loaded, request, every)
