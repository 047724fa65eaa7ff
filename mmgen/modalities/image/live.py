"""Images: the grid of all samples while their tokens are revealed."""

import time
from collections.abc import Iterator

from mmgen.media.images import grid
from mmgen.sampling.live import Pace
from mmgen.sampling.preview import Shown
from mmgen.sampling.request import Asked
from mmgen.sampling.samples import (
    check_request,
    class_labels,
    follow,
    pick_mode,
    requests,
    require_tokenizer,
    state_images,
)
from mmgen.store.store import Loaded


def show_images(loaded: Loaded, asked: Asked, every: float) -> Iterator[Shown]:
    """Grids of images, grey where nothing is decided yet; the last one is what `samples.sample_images` gives.

    Arguments and errors as for `mmgen.apps.serve.sampling.show`.
    """
    paradigm, tokenizer = pick_mode(loaded, asked.mode), require_tokenizer(loaded)
    labels = class_labels(asked.classes, asked.count, loaded)
    check_request(loaded, labels, asked.options, asked.count)
    pace, began = Pace(every), time.perf_counter()
    ((_, request),) = requests(loaded, labels, asked.seed, batch=asked.count)
    for state in follow(paradigm, loaded, request, asked.options):
        final = state
        if pace.due() and not state.committed.all():
            done = state.committed.double().mean().item()
            pictures = [grid(state_images(tokenizer, state))]
            yield Shown(f"step {state.step}, {done:.0%} of the tokens", done, state, pictures=pictures)
            pace.drawn()
    pictures = [grid(state_images(tokenizer, final))]
    seconds, passes = time.perf_counter() - began, final.forward_passes
    told = f"{asked.count} {'image' if asked.count == 1 else 'images'} in {seconds:.2g} s, {passes} forward passes"
    yield Shown(told, 1.0, final, last=True, pictures=pictures)
