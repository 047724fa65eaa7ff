"""Images: the grid of all samples while their tokens are revealed."""

import time
from collections.abc import Iterator

from mmgen.media.images import grid
from mmgen.modalities.image.sampling import state_images
from mmgen.sampling.live import Pace
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.sampling.samples import check_request, class_labels, follow, pick_mode, requests, require_tokenizer
from mmgen.sampling.texts import text_values
from mmgen.store.store import Loaded


def stream_image_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """Grids of images, grey where nothing is decided yet; the last one is what `samples.sample_images` gives.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    paradigm, tokenizer = pick_mode(loaded, request.mode), require_tokenizer(loaded)
    labels = class_labels(request.classes, request.count, loaded)
    check_request(loaded, labels, request.options, request.count)
    texts = text_values(loaded, [request.text] * request.count) if request.text else {}
    pace, began = Pace(every), time.perf_counter()
    ((_, first),) = requests(loaded, labels, request.seed, batch=request.count, conditions=texts)
    for state in follow(paradigm, loaded, first, request.options):
        final = state
        if pace.due() and not state.committed.all():
            done = state.committed.double().mean().item()
            pictures = [grid(state_images(tokenizer, state))]
            yield Preview(f"step {state.step}, {done:.0%} of the tokens", done, state, pictures=pictures)
            pace.drawn()
    pictures = [grid(state_images(tokenizer, final))]
    seconds, passes = time.perf_counter() - began, final.forward_passes
    caption = (
        f"{request.count} {'image' if request.count == 1 else 'images'} in {seconds:.2g} s, {passes} forward passes"
    )
    yield Preview(caption, 1.0, final, last=True, pictures=pictures)
