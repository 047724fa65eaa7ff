from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.modalities.video.sampling import VideoSamples, check_context, sample_clips, stream_clips
from mmgen.modalities.video.tokenizers.causal_conv import CausalConvTokenizer
from mmgen.model.backbone import Transformer
from mmgen.model.generator import Generator
from mmgen.paradigms import ContinuousBlockDiffusion, Flow, Guidance, SampleOptions
from mmgen.sampling.pieces import Piece
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import Loaded, load_generator
from mmgen.tokenizers import Tokenizer
from mmgen.tokenizers.quantizers import Gaussian
from tests.tiny_runs import VIDEO_MIXTURE, generator_run, scramble, tokenizer_run, video_run, video_tokenizer_run
from tests.worlds import conditions

MODES = list(VIDEO_MIXTURE["init_args"]["members"])
GUIDED = SampleOptions(steps=2, guidance=Guidance(2.0))
LABELS = torch.arange(5) % 3
LONG = 11  # frames; clips of four are what the model knows


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """In float64, where a batch rounds as its rows do."""
    folder = tmp_path_factory.mktemp("runs")
    found = load_generator(video_run(folder / "gen", video_tokenizer_run(folder / "tok")))
    found.generator.double()
    return found


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("runs")
    return load_generator(generator_run(folder / "gen", tokenizer_run(folder / "tok")))


@pytest.fixture(scope="module")
def strided() -> Loaded:
    """Continuous latents of two frames each, in clips of five."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = CausalConvTokenizer(Gaussian(3), 5, image_size=32, channels=1, width=8, downsample=8, time_stride=2)
        backbone = Transformer(dim=16, depth=1, heads=2)
        paradigm, spec = ContinuousBlockDiffusion("frame", Flow(), steps=2), tokenizer.spec
        named, parts = conditions(spec, backbone.dim, 3), paradigm.parts(spec, backbone)
        generator = scramble(Generator(spec, backbone, named, "spatial", parts=parts))
    assert isinstance(generator, Generator)
    return Loaded(generator.double().eval(), paradigm, tokenizer.eval(), Facts(tokenizer.spec), {}, 0, Path("gen"))


def task(
    loaded: Loaded, mode: str | None, labels: Tensor, options: SampleOptions, actions: Any = None, **how: Any
) -> SamplingTask:
    conditions = {"class": labels} if actions is None else {"class": labels, "actions": actions}
    return SamplingTask(loaded, mode, conditions, options, **how)


def draw(*wanted: Any, context: Tensor | None = None, **how: Any) -> VideoSamples:
    return sample_clips(task(*wanted, **how), context)


def stream(*wanted: Any, context: Tensor | None = None, **how: Any) -> Iterator[Piece]:
    return stream_clips(task(*wanted, **how), context)


def tokenizer_of(loaded: Loaded) -> Tokenizer:
    assert loaded.tokenizer is not None
    return loaded.tokenizer


def frames(count: int, length: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, length, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def choices(count: int, length: int, seed: int = 0) -> Tensor:
    chosen = torch.randint(0, 3, (count, length), generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.full((count, 1), -1), chosen[:, 1:]], dim=1)


@pytest.mark.parametrize("mode", MODES)
def test_the_context_is_kept_and_shown_as_the_tokenizer_has_it(mode: str, loaded: Loaded) -> None:
    context, tokenizer = frames(5, 3), tokenizer_of(loaded)
    sampled = draw(loaded, mode, LABELS, GUIDED, context=context)
    code = tokenizer.encode(context)
    assert sampled.context == 3
    assert torch.equal(sampled.tokens[:, : 3 * 4], code.values)
    torch.testing.assert_close(sampled.clips[:, :, :3], tokenizer.decode(code), atol=1e-5, rtol=0)
    free = draw(loaded, mode, LABELS, GUIDED)
    other = draw(loaded, mode, LABELS, GUIDED, context=frames(5, 3, seed=1))
    assert not torch.equal(sampled.tokens[:, 12:], other.tokens[:, 12:])  # what follows depends on it
    assert not torch.equal(free.tokens[:, :12], code.values)


@pytest.mark.parametrize("mode", MODES)
def test_a_rollout_begins_as_a_shorter_one_does(mode: str, loaded: Loaded) -> None:
    trained = draw(loaded, mode, LABELS, GUIDED)
    long = draw(loaded, mode, LABELS, GUIDED, frames=LONG)
    assert trained.clips.shape == (5, 1, 4, 32, 32)
    assert long.clips.shape == (5, 1, LONG, 32, 32)
    assert torch.equal(long.tokens[:, : 4 * 4], trained.tokens)
    torch.testing.assert_close(long.clips[:, :, :4], trained.clips, atol=1e-5, rtol=0)
    assert long.forward_passes > trained.forward_passes


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", [1, 4, LONG])
def test_clips_are_the_decoded_tokens(mode: str, length: int, loaded: Loaded) -> None:
    sampled = draw(loaded, mode, LABELS, GUIDED, frames=length)
    whole = tokenizer_of(loaded).decode(Tokens(sampled.tokens, (length, 2, 2)))
    torch.testing.assert_close(sampled.clips, whole, atol=1e-5, rtol=0)
    assert sampled.clips.abs().max() <= 1


def test_a_tokenizer_that_does_not_stream_decodes_at_the_end(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = draw(loaded, "block", LABELS, GUIDED, context=frames(5, 1))

    def refuse(self: Tokenizer) -> None:
        raise UserError("it looks ahead")

    monkeypatch.setattr(type(loaded.tokenizer), "streaming", refuse)
    whole = draw(loaded, "block", LABELS, GUIDED, context=frames(5, 1))
    torch.testing.assert_close(whole.clips, streamed.clips, atol=1e-5, rtol=0)
    assert torch.equal(whole.tokens, streamed.tokens)
    assert len(list(stream(loaded, "block", LABELS, GUIDED))) == 1


@pytest.mark.parametrize("mode", MODES)
def test_frames_come_in_order_as_soon_as_they_are_finished(mode: str, loaded: Loaded) -> None:
    parts = list(stream(loaded, mode, LABELS[:2], GUIDED, frames=6, context=frames(2, 2)))
    assert [(part.start, part.stop) for part in parts] == [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    for part in parts:
        committed = part.state.committed.view(2, 6, 4)
        assert committed[:, : part.stop].all()
        assert not committed[:, part.stop :].any()  # nothing later has been begun with
    several = list(stream(loaded, mode, LABELS, GUIDED, frames=2, batch=3))
    assert [(part.rows, part.start) for part in several] == [
        (slice(0, 3), 0), (slice(0, 3), 1), (slice(3, 5), 0), (slice(3, 5), 1),
    ]  # fmt: skip


def test_who_watches_keeps_gradients(loaded: Loaded) -> None:
    for part in stream(loaded, "block", LABELS, GUIDED):
        assert torch.is_grad_enabled()
        assert not part.values.requires_grad


@pytest.mark.parametrize("mode", MODES)
def test_actions_are_asked_for_frame_by_frame_so_that_a_person_can_steer(mode: str, loaded: Loaded) -> None:
    told, asked, shown = choices(5, LONG), [], []

    def steer(frame: int) -> Tensor:
        asked.append((frame, len(shown)))
        return told[:, frame]

    for part in stream(loaded, mode, LABELS, GUIDED, frames=LONG, actions=steer):
        shown.append(part)
    assert asked == [(frame, frame) for frame in range(LONG)]  # each once, when all frames before it had been shown
    known = draw(loaded, mode, LABELS, GUIDED, frames=LONG, actions=told)
    assert torch.equal(shown[-1].state.tokens, known.tokens)


@pytest.mark.parametrize("mode", MODES)
def test_an_action_changes_the_frame_that_it_leads_to_and_none_before(mode: str, loaded: Loaded) -> None:
    one, two = choices(5, 8), choices(5, 8)
    two[:, 5] = (two[:, 5] + 1) % 3
    first, second = (
        draw(loaded, mode, LABELS, GUIDED, frames=8, actions=each).tokens.view(5, 8, 4) for each in (one, two)
    )
    assert torch.equal(first[:, :5], second[:, :5])
    assert not torch.equal(first[:, 5], second[:, 5])


def test_time_and_progress_are_told(loaded: Loaded) -> None:
    seen: list[float] = []
    sampled = draw(loaded, "block", LABELS, GUIDED, batch=2, context=frames(5, 1), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 5
    assert 0 < sampled.first_frame_seconds < sampled.seconds
    assert sampled.seconds_per_frame == pytest.approx(sampled.seconds / (5 * 3))


def sample(loaded: Loaded, **options: object) -> list[Piece]:
    return list(stream(loaded, "block", LABELS, GUIDED, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"frames": 0}, "at least 1 frame, got 0"),
        ({"context": frames(5, 4)}, "a context of 4 frames does not begin clips of 4"),
        ({"context": frames(4, 1)}, r"must be of shape \(5, 1, frames, 32, 32\), got \(4, 1, 1, 32, 32\)"),
        ({"context": frames(5, 1)[..., :31]}, "must be of shape"),
        ({"context": frames(5, 1)[:, :, 0]}, "must be of shape"),
        ({"context": 3 * frames(5, 1)}, "got values from"),
        ({"actions": choices(5, 3)}, r"for 5 samples of 4 frames, got \(5, 3\)"),
        ({"actions": torch.full((5, 4), 3)}, "gen: action 3 is out of range: known are 0 to 2"),
        ({"actions": torch.full((5, 4), -2)}, "action -2 is out of range"),
        ({"actions": lambda frame: torch.full((5,), 7)}, "actions of a frame must be 5 whole numbers from -1 to 2"),
        ({"actions": lambda frame: torch.zeros(5, dtype=torch.int64), "batch": 4}, "5 clips that are steered"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(options: dict[str, object], told: str, loaded: Loaded) -> None:
    with pytest.raises(UserError, match=told) as caught:
        sample(loaded, **options)
    assert "\n" not in str(caught.value)


def test_a_context_ends_where_a_latent_does(loaded: Loaded) -> None:
    spec = TokenSpec("bits", 4, (4, 2, 2), modality="video", stride=4).with_frames(13)  # 1 + 4 + 4 + 4
    for given in (1, 5, 9):
        check_context(tokenizer_of(loaded), spec, 2, frames(2, given))
    with pytest.raises(UserError, match="4 frames in a clip of 13: give 1 and a multiple of 4, or make clips of 16"):
        check_context(tokenizer_of(loaded), spec, 2, frames(2, 4))


def test_latents_of_several_frames_and_of_numbers(strided: Loaded) -> None:
    tokenizer, options = tokenizer_of(strided), SampleOptions(steps=2)
    context = frames(5, 3)
    sampled = draw(strided, None, LABELS, options, frames=9, context=context, batch=2)
    code = tokenizer.encode(context)
    assert sampled.clips.shape == (5, 1, 9, 32, 32)
    torch.testing.assert_close(sampled.tokens[:, : code.values.shape[1]], code.values.double())
    torch.testing.assert_close(sampled.clips[:, :, :3], tokenizer.decode(code), atol=1e-5, rtol=0)
    parts = stream(strided, None, LABELS, options, frames=8)  # 2 + 2 + 2 + 2, not 1 + 2 + 2 as in training
    assert [(part.start, part.stop) for part in parts] == [(0, 2), (2, 4), (4, 6), (6, 8)]
    with pytest.raises(UserError, match="2 context frames end within a latent of 2 frames"):
        draw(strided, None, LABELS, options, context=frames(5, 2))
