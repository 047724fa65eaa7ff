"""Motions from a generator: of the lengths that were asked for, alone as in a batch, and as a stream."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.motion.sampling import MotionSamples, sample_motion
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import Loaded, load_generator
from tests.motion_runs import motion_run, motion_tokenizer_run

LABELS = torch.tensor([0, 1, 0])


def run(folder: Path, ends: bool = False, causal: bool = True) -> Loaded:
    tokenizer = motion_tokenizer_run(folder / "tokenizer", causal=causal)
    return load_generator(motion_run(folder / "run", tokenizer, ends=ends))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return run(tmp_path_factory.mktemp("moving"))


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return run(tmp_path_factory.mktemp("ending"), ends=True)


def draw(loaded: Loaded, mode: str, labels: Tensor, **how: Any) -> MotionSamples:
    return sample_motion(SamplingTask(loaded, mode, {"class": labels}, **how))


@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_motions_have_the_lengths_that_were_asked_for(loaded: Loaded, mode: str) -> None:
    lengths = torch.tensor([12, 4, 7])
    moved = draw(loaded, mode, LABELS, lengths=lengths)
    assert [each.shape for each in moved.features] == [(263, 12), (263, 4), (263, 7)]
    assert [each.shape for each in moved.joints] == [(12, 22, 3), (4, 22, 3), (7, 22, 3)]
    assert moved.frames.tolist() == [12, 4, 7] and all(each.isfinite().all() for each in moved.features)


def test_rows_end_by_themselves_each_at_its_own_place(ending: Loaded) -> None:
    with torch.no_grad():
        ending.generator.head.project.weight.mul_(0.1)  # END is one of nine choices that are about as probable
    moved = draw(ending, "ar", torch.arange(24) % 2)
    assert len(set(moved.frames.tolist())) > 1 and set(moved.frames.tolist()) <= {4, 8, 12}


def test_what_is_kept_stays(loaded: Loaded) -> None:
    known = torch.randint(0, 8, (3, 3, 2), generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([[True, False, True]]).expand(3, -1)
    moved = draw(loaded, "masked", LABELS, known=known, keep=keep)
    assert torch.equal(moved.tokens[keep], known[keep])


def test_mistakes_end_in_one_line(loaded: Loaded) -> None:
    with pytest.raises(UserError, match="1 to 12 frames"):
        draw(loaded, "ar", LABELS, lengths=torch.tensor([0, 4, 4]))
