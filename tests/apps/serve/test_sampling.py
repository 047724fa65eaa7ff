"""Partial results end in the samples that the commands make for the same seed; what is too much is refused."""

from typing import Any

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_of
from mmgen.media.images import grid
from mmgen.media.video import tile_clips
from mmgen.modalities.image.sampling import sample_images
from mmgen.modalities.motion.drawing import draw_motion
from mmgen.modalities.motion.sampling import sample_motion
from mmgen.modalities.speech.sampling import sample_speech
from mmgen.modalities.video.sampling import sample_clips
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import EACH_IN_TURN, MOST_SAMPLES, MOST_TEXT, SamplingRequest
from mmgen.store.store import Loaded, load_generator
from tests import motion_runs, spoken_runs, tiny_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    folder = tmp_path_factory.mktemp("runs")
    codec = spoken_runs.codec_run(folder / "codec")
    made = {
        "image": tiny_runs.generator_run(folder / "gen", tiny_runs.tokenizer_run(folder / "tok")),
        "video": tiny_runs.video_run(folder / "vid", tiny_runs.video_tokenizer_run(folder / "vtok")),
        "speech": spoken_runs.speech_run(folder / "say", codec),
        "ending": spoken_runs.speech_run(
            folder / "ends", codec, {"class_path": "mmgen.paradigms.CodebookAutoregressive"}, ends=True
        ),
        "motion": motion_runs.motion_run(
            folder / "move", motion_runs.motion_tokenizer_run(folder / "mtok", causal=True), ends=True
        ),
    }
    return {name: load_generator(path) for name, path in made.items()}


def all_of(loaded: Loaded, asked: SamplingRequest, every: float = 0) -> list[Preview]:
    """Partial results, of which the last one alone says so, and of which none goes back."""
    shown = list(modality_of(loaded.spec.modality).stream(loaded, asked, every))
    assert [each.last for each in shown] == [False] * (len(shown) - 1) + [True]
    progress = [each.progress for each in shown]
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert all(each.caption and "\n" not in each.caption for each in shown)
    return shown


@pytest.mark.parametrize("mode", ["ar", "masked", "block"])
def test_images_end_in_the_tokens_of_the_command(mode: str, runs: dict[str, Loaded]) -> None:
    loaded, asked = runs["image"], SamplingRequest(mode, count=5, seed=3, guidance=2.0, temperature=0.8)
    shown = all_of(loaded, asked)
    wanted = sample_images(asked.task(loaded))
    assert len(shown) > 2
    assert torch.equal(shown[-1].state.tokens, wanted.tokens)
    assert torch.equal(shown[-1].pictures[0], grid(wanted.images))
    assert (shown[0].pictures[0] == 0).all()  # nothing is decided yet


def test_how_often_is_drawn_changes_no_sample(runs: dict[str, Loaded]) -> None:
    asked = SamplingRequest("ar", count=2, seed=1)
    often, seldom = all_of(runs["image"], asked), all_of(runs["image"], asked, every=1000.0)
    assert len(often) > len(seldom) == 2
    assert torch.equal(often[-1].state.tokens, seldom[-1].state.tokens)


@pytest.mark.parametrize(("mode", "frames"), [("ar", None), ("frame", 6), ("block", None)])
def test_clips_grow_frame_by_frame_to_those_of_the_command(
    mode: str, frames: int | None, runs: dict[str, Loaded]
) -> None:
    loaded, asked = runs["video"], SamplingRequest(mode, "3", count=2, seed=4, frames=frames)
    shown = all_of(loaded, asked)
    wanted = sample_clips(asked.task(loaded, frames=frames))
    assert torch.equal(shown[-1].state.tokens, wanted.tokens)
    assert torch.equal(shown[-1].clip, tile_clips(wanted.clips))
    assert shown[-1].fps == 10
    for number in range(1, wanted.clips.shape[2]):
        newest = [grid(wanted.clips[:, :, number - 1])]
        assert any(torch.equal(each.pictures[0], newest[0]) for each in shown[:-1] if each.pictures), number


@pytest.mark.parametrize(("name", "mode"), [("speech", "ar"), ("speech", "masked"), ("ending", "ar")])
def test_speech_grows_to_what_the_command_says(name: str, mode: str, runs: dict[str, Loaded]) -> None:
    loaded, asked = runs[name], SamplingRequest(mode, text="a bad cab", count=2, seed=5)
    shown = all_of(loaded, asked)
    assert len(shown) > 2  # progress at least
    wanted = sample_speech(asked.task(loaded))
    assert len(shown[-1].sounds) == len(shown[-1].pictures) == 2
    for row, sound in enumerate(wanted.sounds):
        torch.testing.assert_close(shown[-1].sounds[row], sound, atol=1e-4, rtol=0)
        for earlier in shown[:-1]:
            if earlier.sounds:
                common = min(len(sound), len(earlier.sounds[row]))
                torch.testing.assert_close(earlier.sounds[row][:common], sound[:common], atol=1e-4, rtol=0)
    lengths = {len(each.sounds[0]) for each in shown if each.sounds}
    assert (name, mode) != ("speech", "ar") or len(lengths) > 2
    assert list(shown[-1].sound_titles) == spoken_runs.VOICES


@pytest.mark.parametrize("mode", ["ar", "masked"])
def test_motions_grow_to_what_the_command_makes(mode: str, runs: dict[str, Loaded]) -> None:
    loaded, asked = runs["motion"], SamplingRequest(mode, count=2, seed=5)
    shown = all_of(loaded, asked)
    wanted = sample_motion(asked.task(loaded))
    longest = max(map(len, wanted.joints))
    held = [torch.cat([each, each[-1:].expand(longest - len(each), -1, -1)]) for each in wanted.joints]
    clip, expected = shown[-1].clip, tile_clips(torch.stack([draw_motion(each) for each in held]))
    assert clip is not None and clip.shape == expected.shape
    assert (clip - expected).abs().mean() < 1e-2 and shown[-1].fps == 20
    assert mode == "masked" or any(each.pictures for each in shown[:-1])


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("image", {"mode": "blocks"}, "did you mean 'block'"),
    ("image", {"mode": "ar", "class_": "none", "guidance": 2.0}, "cannot guide"),
    ("image", {"mode": "ar", "text": "abc"}, "without text"),
    ("speech", {"mode": "ar"}, "empty"),
    ("speech", {"mode": "ar", "text": "xyz"}, "unknown here"),
    ("speech", {"mode": "ar", "text": "abc" * 20}, "at most 16"),
]


@pytest.mark.parametrize(("name", "asked", "words"), WRONG)
def test_what_a_run_cannot_do_is_told_in_one_line(
    name: str, asked: dict[str, Any], words: str, runs: dict[str, Loaded]
) -> None:
    with pytest.raises(UserError, match=words) as error:
        list(modality_of(runs[name].spec.modality).stream(runs[name], SamplingRequest(**asked), 0))
    assert "\n" not in str(error.value)


TOO_MUCH: list[dict[str, Any]] = [
    {"count": 0}, {"count": MOST_SAMPLES + 1}, {"count": None}, {"seed": -1}, {"seed": 2**31}, {"seed": None},
    {"steps": 0}, {"steps": 1001}, {"guidance": -0.1}, {"guidance": float("nan")}, {"temperature": float("inf")},
    {"frames": 513}, {"text": "a" * (MOST_TEXT + 1)},
]  # fmt: skip


@pytest.mark.parametrize("asked", TOO_MUCH, ids=str)
def test_too_much_is_refused_before_anything_runs(asked: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"must lie between|at most"):
        SamplingRequest(**asked)


def test_all_classes_come_in_turn_unless_one_is_named(runs: dict[str, Loaded]) -> None:
    for name, labels in ((EACH_IN_TURN, [0, 1]), (None, [0, 1]), ("none", [-1, -1])):
        task = SamplingRequest("ar", class_=name, count=2).task(runs["image"])
        assert task.values["class"].tolist() == labels  # type: ignore[union-attr]
