"""Laws of sampling that hold for every modality: alone or in a batch, whole or as a stream."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.image.sampling import sample_images
from mmgen.modalities.motion.sampling import sample_motion, stream_motion
from mmgen.modalities.speech.sampling import sample_speech, stream_speech
from mmgen.modalities.video.sampling import sample_clips, stream_clips
from mmgen.sampling.pieces import Piece
from mmgen.sampling.samples import Samples, SamplingTask
from mmgen.store.store import Loaded, load_generator
from tests import motion_runs, spoken_runs, tiny_runs

SAMPLE: dict[str, Callable[[SamplingTask], Samples]] = {
    "image": sample_images, "video": sample_clips, "speech": sample_speech, "motion": sample_motion,
    "motion that looks ahead": sample_motion,
}  # fmt: skip
STREAM: dict[str, Callable[[SamplingTask], Iterator[Piece]]] = {
    "video": stream_clips, "speech": stream_speech, "motion": stream_motion, "motion that looks ahead": stream_motion,
}  # fmt: skip
MODES = {"image": ("ar", "masked", "block"), "video": ("ar", "frame", "block")}
CASES = [(name, mode) for name in SAMPLE for mode in MODES.get(name, ("ar", "masked"))]
TEXTS, LENGTHS = ["a bad cab", "fig", "dead head"], torch.tensor([12, 4, 7])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    """Images and clips in float64, where a batch rounds as its rows do."""
    folder = tmp_path_factory.mktemp("runs")
    paths = {
        "image": tiny_runs.generator_run(folder / "gen", tiny_runs.tokenizer_run(folder / "tok")),
        "video": tiny_runs.video_run(folder / "vid", tiny_runs.video_tokenizer_run(folder / "vtok")),
        "speech": spoken_runs.speech_run(folder / "say", spoken_runs.codec_run(folder / "codec")),
    }
    for name, causal in (("motion", True), ("motion that looks ahead", False)):
        tokenizer = motion_runs.motion_tokenizer_run(folder / f"{name} tok", causal=causal)
        paths[name] = motion_runs.motion_run(folder / name, tokenizer)
    loaded = {name: load_generator(path) for name, path in paths.items()}
    for name in ("image", "video"):
        loaded[name].generator.double()
    return loaded


def task(loaded: Loaded, mode: str, first: int = 0, count: int = 3, **how: Any) -> SamplingTask:
    rows, modality = slice(first, first + count), loaded.spec.modality
    conditions: dict[str, Any] = {"class": torch.tensor([0, 1, 0])[rows]}
    if modality == "speech":
        conditions["text"] = TEXTS[rows]
    if modality == "video":
        conditions["actions"] = torch.tensor([[-1, 0, 1, 2], [-1, 2, 2, 0], [-1, 1, 1, 1]])[rows]
    if modality == "motion":
        how = {"lengths": LENGTHS[rows]} | how
    return SamplingTask(loaded, mode, conditions, first_sample=first, **how)


def values(samples: Samples) -> list[Tensor]:
    """What was made of each row."""
    name = next(name for name in ("images", "clips", "sounds", "features") if hasattr(samples, name))
    return list(getattr(samples, name))


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_sample_depends_on_seed_number_and_its_own_conditions_alone(
    name: str, mode: str, runs: dict[str, Loaded]
) -> None:
    loaded, draw, seen = runs[name], SAMPLE[name], list[float]()
    whole = draw(task(loaded, mode, seed=5))
    parts = draw(task(loaded, mode, seed=5, batch=2, progress=seen.append))
    last = draw(task(loaded, mode, first=2, count=1, seed=5))
    assert torch.equal(parts.tokens, whole.tokens) and torch.equal(last.tokens, whole.tokens[2:])
    for one, other in zip([*values(parts), *values(last)], [*values(whole), values(whole)[2]]):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert not torch.equal(draw(task(loaded, mode, seed=6)).tokens, whole.tokens)
    assert seen == sorted(seen) and seen[0] < seen[-1] == 3  # what stands behind a row is done at once


@pytest.mark.parametrize(("name", "mode"), [case for case in CASES if case[0] in STREAM])
def test_a_stream_is_the_whole_in_order(name: str, mode: str, runs: dict[str, Loaded]) -> None:
    given: dict[str, Any] = {"lengths": None} if "motion" in name else {}
    whole = SAMPLE[name](task(runs[name], mode, **given))
    pieces = list(STREAM[name](task(runs[name], mode, **given)))
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert (len(pieces) > 1) == (mode != "masked" and "ahead" not in name)
    for row, made in zip(torch.cat([piece.values for piece in pieces], dim=2), values(whole)):
        made = made if made.dim() > 1 else made[None]  # of speech the silence at the end is cut
        torch.testing.assert_close(row[:, : made.shape[1]], made, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SAMPLE)
def test_each_modality_refuses_the_others(name: str, runs: dict[str, Loaded]) -> None:
    for other in {"image", "video", "speech", "motion"} - {name.split()[0]}:
        with pytest.raises(UserError, match=r"generates \w+, not \w+: choose another run"):
            SAMPLE[name](task(runs[other], "ar"))


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ({"text": ["a", "b", "c"]}, "was trained without text: leave --text out"),
        ({"actions": torch.zeros(3, 4, dtype=torch.int64)}, "was trained without actions: leave --actions out"),
        ({"class": torch.tensor([0, 1, 3])}, "gen: class 3 is out of range: known are 0 to 2"),
        ({"class": torch.tensor([0, 1, -2])}, "class -2 is out of range"),
    ],
)
def test_conditions_are_checked_where_they_enter(
    conditions: dict[str, Any], words: str, runs: dict[str, Loaded]
) -> None:
    with pytest.raises(UserError, match=words):
        SamplingTask(runs["image"], "ar", {"class": torch.zeros(3, dtype=torch.int64), **conditions})
    SamplingTask(runs["image"], "ar", {"class": torch.zeros(3, dtype=torch.int64), "text": ["", "", ""]})
