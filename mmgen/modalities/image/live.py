"""Images: the grid of all samples while their tokens are revealed."""

import time
from collections.abc import Iterator

from mmgen.media.images import grid
from mmgen.modalities.image.sampling import state_images
from mmgen.sampling.live import Pace
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.store.store import Loaded


def stream_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """Grids of images, grey where nothing is decided yet; the last one is what `mmgen sample` makes.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    task = request.task(loaded)
    pace, began = Pace(every), time.perf_counter()
    ((_, states),) = task.run()
    for state in states:
        if pace.due() and not state.committed.all():
            done = state.committed.double().mean().item()
            pictures = [grid(state_images(task.tokenizer, state))]
            yield Preview(f"step {state.step}, {done:.0%} of the tokens", done, state, pictures=pictures)
            pace.drawn()
    pictures, seconds = [grid(state_images(task.tokenizer, state))], time.perf_counter() - began
    images = "image" if request.count == 1 else "images"
    caption = f"{request.count} {images} in {seconds:.2g} s, {state.forward_passes} forward passes"
    yield Preview(caption, 1.0, state, last=True, pictures=pictures)
