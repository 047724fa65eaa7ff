"""Motions from a generator: of the lengths that were asked for, alone as in a batch, and as a stream."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.image.sampling import sample_images
from mmgen.modalities.motion.sampling import sample_motion, stream_motion
from mmgen.paradigms import SampleOptions
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


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(one, other))


@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_motions_have_the_lengths_that_were_asked_for(loaded: Loaded, mode: str) -> None:
    lengths = torch.tensor([12, 4, 7])
    moved = sample_motion(loaded, mode, LABELS, lengths=lengths)
    assert [each.shape for each in moved.features] == [(263, 12), (263, 4), (263, 7)]
    assert [each.shape for each in moved.joints] == [(12, 22, 3), (4, 22, 3), (7, 22, 3)]
    assert moved.lengths.tolist() == [12, 4, 7] and all(each.isfinite().all() for each in moved.features)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_a_motion_is_the_same_alone_and_in_a_batch(tmp_path: Path, mode: str, causal: bool) -> None:
    loaded, lengths = run(tmp_path, causal=causal), torch.tensor([12, 4, 7])
    together = sample_motion(loaded, mode, LABELS, lengths=lengths)
    alone = [
        sample_motion(loaded, mode, LABELS[row : row + 1], first_sample=row, lengths=lengths[row : row + 1]).features[0]
        for row in range(3)
    ]
    assert same(together.features, alone)


def test_rows_end_by_themselves_each_at_its_own_place(ending: Loaded) -> None:
    with torch.no_grad():
        ending.generator.head.project.weight.mul_(0.1)  # END is one of nine choices that are about as probable
    moved = sample_motion(ending, "ar", torch.arange(24) % 2)
    assert len(set(moved.lengths.tolist())) > 1 and set(moved.lengths.tolist()) <= {4, 8, 12}


@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_a_stream_is_the_whole(loaded: Loaded, mode: str) -> None:
    whole = sample_motion(loaded, mode, LABELS)
    parts = list(stream_motion(loaded, mode, LABELS))
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert len(parts) > 1 if mode == "ar" else len(parts) == 1
    assert same(list(torch.cat([part.features for part in parts], dim=2)), whole.features)


def test_what_is_kept_stays(loaded: Loaded) -> None:
    known = torch.randint(0, 8, (3, 3, 2), generator=torch.Generator().manual_seed(0))
    keep = torch.tensor([[True, False, True]]).expand(3, -1)
    moved = sample_motion(loaded, "masked", LABELS, known=known, keep=keep)
    assert torch.equal(moved.tokens[keep], known[keep])


def test_mistakes_end_in_one_line(loaded: Loaded) -> None:
    with pytest.raises(UserError, match="1 to 12 frames"):
        sample_motion(loaded, "ar", LABELS, lengths=torch.tensor([0, 4, 4]))
    with pytest.raises(UserError, match="trained without texts"):
        sample_motion(loaded, "ar", LABELS, texts=["a", "b", "c"])
    with pytest.raises(UserError, match="not images"):
        sample_images(loaded, "ar", LABELS, SampleOptions())
