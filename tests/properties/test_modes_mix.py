"""What sampling leaves in the caches of layouts, masks and tables does not get in the way of training."""

import pytest
import torch

from mmgen.paradigms import Paradigm, Request, SampleOptions
from tests.worlds import PARADIGMS, condition_of, draws, generator, spec_for, tokens_for


@pytest.mark.parametrize("paradigm", PARADIGMS.values(), ids=PARADIGMS)
def test_training_after_sampling_in_inference_mode(paradigm: Paradigm) -> None:
    model, labels, x = generator(spec_for(paradigm), seed=3), torch.tensor([0, 1]), tokens_for(paradigm, rows=2)
    for cached in (False, True):  # forget all that other tests have cached, then see what sampling caches
        if not cached:
            _forget()
        with torch.inference_mode():
            list(paradigm.sample(model, Request(draws(2), conditions={"class": labels}), SampleOptions()))
            paradigm.losses(model, x, condition_of(model, labels), draws(2))
        (losses,) = paradigm.losses(model, x, condition_of(model, labels), draws(2)).values()
        losses.mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert model.backbone.blocks[0].mixer.qkv.weight.grad is not None  # type: ignore[union-attr]


def _forget() -> None:
    import gc

    for each in gc.get_objects():
        if type(each).__name__ == "_lru_cache_wrapper" and getattr(each, "__module__", "").startswith("mmgen"):
            each.cache_clear()
