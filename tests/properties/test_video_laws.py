"""Laws 1, 3 and 8 on clips, for every paradigm: what is hidden leaks nothing, a cache of bounded size equals the full
windowed row, and a clip does not depend on its neighbours; conditions may be told frame by frame.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Cache
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    DDPM,
    Autoregressive,
    BlockDiffusion,
    ContinuousBlockDiffusion,
    Flow,
    FrameAutoregressive,
    Guidance,
    Masked,
    MaskedDiffusion,
    Paradigm,
    Request,
    SampleOptions,
)
from tests.leaks import find_leaks
from tests.worlds import condition_of, draws, generator

GRID = (4, 1, 2)  # what generators are trained on: 4 frames of 2 tokens
LONG = (16, 1, 2)
SIZE = 2
LABELS = torch.tensor([0, 2, -1])
ACTIONS = 3

WINDOWED: dict[str, Paradigm] = {
    "ar": Autoregressive(window=2),
    "ar-sink": Autoregressive(window=2, sink=1),
    "frame": FrameAutoregressive(window=2),
    "frame-sink": FrameAutoregressive(window=3, sink=1, context_noise=0.3),
    "complete": BlockDiffusion("frame", window=2, steps=2),
    "complete-sink": BlockDiffusion("frame", window=2, sink=1, steps=2, context_noise=0.5),
    "halves": BlockDiffusion(1, window=3, steps=2),
    "hidden-history": BlockDiffusion("frame", window=2, steps=2, history="corrupted"),
    "hidden-history-noise": BlockDiffusion("frame", window=3, sink=1, steps=2, history="corrupted", context_noise=0.5),
    "acdit": ContinuousBlockDiffusion("frame", Flow(), window=2, steps=2),
    "acdit-noise": ContinuousBlockDiffusion("frame", DDPM(), window=3, sink=1, steps=2, context_noise=0.2),
    "forcing": ContinuousBlockDiffusion("frame", Flow(), window=2, steps=2, history="corrupted"),
    "forcing-noise": ContinuousBlockDiffusion(
        "frame", Flow("x0"), window=3, sink=1, steps=2, history="corrupted", context_noise=0.1
    ),
}
WHOLE: dict[str, Paradigm] = {
    "ar-all": Autoregressive(),
    "frame-all": FrameAutoregressive(),
    "complete-all": BlockDiffusion("frame", steps=2),
    "hidden-history-all": BlockDiffusion("frame", steps=2, history="corrupted"),
    "acdit-all": ContinuousBlockDiffusion("frame", Flow(), steps=2),
    "forcing-all": ContinuousBlockDiffusion("frame", Flow(), steps=2, history="corrupted"),
}
UNCACHED: dict[str, Paradigm] = {"masked": Masked(steps=3), "diffusion": MaskedDiffusion("linear", steps=3)}
CACHED = WINDOWED | WHOLE
BY_FRAME = {name: each for name, each in CACHED.items() if name not in ("halves",)}

windowed = pytest.mark.parametrize("paradigm", WINDOWED.values(), ids=WINDOWED)
cached = pytest.mark.parametrize("paradigm", CACHED.values(), ids=CACHED)
by_frame = pytest.mark.parametrize("paradigm", BY_FRAME.values(), ids=BY_FRAME)
every = pytest.mark.parametrize("paradigm", (CACHED | UNCACHED).values(), ids=CACHED | UNCACHED)
guided = pytest.mark.parametrize("options", [SampleOptions(), SampleOptions(guidance=Guidance(2.0))], ids=["", "cfg"])


def model_for(paradigm: Paradigm, actions: int = ACTIONS, **options: Any) -> Generator:
    continuous = isinstance(paradigm, ContinuousBlockDiffusion)
    spec = TokenSpec("continuous", 3, GRID, modality="video") if continuous else TokenSpec("bits", 4, GRID)
    return generator(spec, positions="spatial", actions=actions, **({"rope_prefix": "zero"} | options))


def tokens_for(paradigm: Paradigm, grid: tuple[int, int, int] = GRID, rows: int = 3, seed: int = 0) -> Tokens:
    source, count = torch.Generator().manual_seed(seed), grid[0] * SIZE
    if isinstance(paradigm, ContinuousBlockDiffusion):
        return Tokens(torch.randn(rows, count, 3, generator=source, dtype=torch.float64), grid)
    return Tokens(torch.randint(0, 16, (rows, count), generator=source), grid)


def actions_for(frames: int, rows: int = 3, seed: int = 5) -> Tensor:
    return torch.randint(-1, ACTIONS, (rows, frames), generator=torch.Generator().manual_seed(seed))


def request_for(paradigm: Paradigm, grid: tuple[int, int, int] = LONG, **more: Any) -> Request:
    actions = more.pop("actions", actions_for(grid[0]))
    return Request(draws(3), grid=grid, conditions={"class": LABELS, "actions": actions}, **more)


def last(paradigm: Paradigm, model: Generator, request: Request, options: SampleOptions | None = None) -> Tensor:
    *_, state = paradigm.sample(model, request, options or SampleOptions())
    assert state.committed.all()
    return state.tokens


def same(one: Tensor, other: Tensor) -> None:
    if one.is_floating_point():
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # diffusers' flow scheduler steps in float32
    else:
        assert torch.equal(one, other)


# Law 1.


@every
@torch.no_grad()
def test_a_prediction_never_depends_on_what_it_predicts(paradigm: Paradigm) -> None:
    model = model_for(paradigm)
    condition = condition_of(model, LABELS, actions=actions_for(GRID[0]))
    assert find_leaks(paradigm, model, tokens_for(paradigm), condition, draws(3)) == []


# Law 3.


@dataclass(frozen=True, eq=False)
class Pass:
    """One call of the generator while sampling."""

    values: Tensor
    layout: Layout
    named: dict[str, Any]
    features: Tensor
    cache: Cache
    stored: Layout | None


def recorded(model: Generator, paradigm: Paradigm, request: Request, options: SampleOptions) -> list[Pass]:
    passes, forward = [], type(model).forward
    names = ("mask", "condition", "hidden", "cache", "store", "outputs", "added", "modulation")

    def record(values: Tensor, layout: Layout, *rest: Any, **named: Any) -> Tensor:
        named |= dict(zip(names, rest))
        stored = named["cache"].layout
        features = forward(model, values, layout, **named)
        passes.append(Pass(values, layout, named, features, named["cache"], stored))
        return features

    model.forward = record  # type: ignore[method-assign]
    last(paradigm, model, request, options)
    del model.forward
    return passes


@cached
@guided
@torch.inference_mode()
def test_a_rollout_of_bounded_cache_equals_the_full_row(paradigm: Paradigm, options: SampleOptions) -> None:
    """Each pass is repeated without a cache over all that was ever stored, under the mask of training; a finished
    position is stored once; what is stored lies as in training, only further on; and the cache stays small.
    """
    model = model_for(paradigm)
    passes = recorded(model, paradigm, request_for(paradigm), options)
    layout = stored_by(passes, model, paradigm, rows=3 if options.guidance.scale == 1 else 6)
    finished = layout.position[0, layout.role[0] != Role.PREFIX]
    assert len(finished) == len(finished.unique(dim=0))  # none was computed twice
    assert torch.equal(finished[:, 0], finished[:, 0].sort().values)
    if paradigm in WINDOWED.values():
        short = recorded(model, paradigm, request_for(paradigm, GRID), options)
        assert {each.cache.capacity for each in passes} == {each.cache.capacity for each in short}


def stored_by(passes: list[Pass], model: Generator, paradigm: Paradigm, rows: int) -> Layout:
    """All positions that passes store, after each of these was compared to a full row."""
    stored: list[Any] = []
    for each in passes:
        count = each.layout.length if each.named["store"] is None else each.named["store"]
        now = (each.values, each.layout, each.named["hidden"], each.named["modulation"])
        values, layout, hidden, modulation = joined([*stored, now], rows)
        expected = model(
            values, layout, paradigm.mask, each.named["condition"], hidden, outputs=each.named["outputs"],
            modulation=modulation,
        )  # fmt: skip
        torch.testing.assert_close(each.features, expected, rtol=1e-9, atol=1e-9)
        stored.append(first(now, count))
    return joined(stored, rows)[1]


def joined(parts: list[Any], rows: int) -> tuple[Tensor, Layout, Tensor | None, Tensor | None]:
    values = torch.cat([part[0] for part in parts], dim=1)
    layout = parts[0][1]
    for part in parts[1:]:
        layout = layout + part[1]
    hidden, modulation = None, None
    if any(part[2] is not None for part in parts):
        none = [torch.zeros(rows, part[0].shape[1], dtype=torch.bool) for part in parts]
        hidden = torch.cat([other if part[2] is None else part[2] for part, other in zip(parts, none)], dim=1)
    if any(part[3] is not None for part in parts):
        width = next(part[3].shape[-1] for part in parts if part[3] is not None)
        zero = [torch.zeros(rows, part[0].shape[1], width, dtype=torch.float64) for part in parts]
        modulation = torch.cat([other if part[3] is None else part[3] for part, other in zip(parts, zero)], dim=1)
    return values, layout, hidden, modulation


def first(part: Any, count: int) -> Any:
    """The leading positions of a pass; the prefix holds no value."""
    values, layout, hidden, modulation = part
    stay = count - (layout.length - values.shape[1])
    return (
        values[:, :stay],
        layout.slice(0, count),
        None if hidden is None else hidden[:, :stay],
        None if modulation is None else modulation[:, :stay],
    )


@pytest.mark.parametrize("name", ["hidden-history", "hidden-history-noise", "forcing", "forcing-noise", "forcing-all"])
@pytest.mark.parametrize("together", [3, 16])
@torch.inference_mode()
def test_frames_that_are_made_together_see_what_training_shows(name: str, together: int) -> None:
    """From one frame after the other to all at once: every pass equals the full row, given frames are seen clean."""
    paradigm, options = CACHED[name], SampleOptions(parallel_blocks=together)
    model, known = model_for(paradigm), tokens_for(paradigm, LONG).values
    keep = torch.arange(32).expand(3, -1) < 2 * SIZE
    passes = recorded(model, paradigm, request_for(paradigm, known=known, keep=keep), options)
    made = [each.named["outputs"] // SIZE for each in passes if each.named["outputs"]]
    assert sorted(set(made)) == sorted({min(together, 14), 14 % together or min(together, 14)})
    stored_by(passes, model, paradigm, rows=3)
    assert torch.equal(last(paradigm, model, request_for(paradigm, known=known, keep=keep), options)[keep], known[keep])


@cached
@torch.inference_mode()
def test_a_longer_rollout_begins_with_the_shorter_one(paradigm: Paradigm) -> None:
    model, actions = model_for(paradigm), actions_for(16)
    long, short = (
        last(paradigm, model, request_for(paradigm, grid, actions=actions[:, : grid[0]])) for grid in (LONG, (6, 1, 2))
    )
    same(long[:, : 6 * SIZE], short)


@pytest.mark.parametrize("name", ["ar", "frame", "complete", "hidden-history", "acdit", "forcing"])
@torch.inference_mode()
def test_nothing_tells_how_late_it_is(name: str) -> None:
    """With a window, positions by frame and a prefix without rotation, all frames later is the same: no table ends."""
    paradigm = WINDOWED[name]
    model, x = model_for(paradigm), tokens_for(paradigm)
    row, condition = paradigm.corrupt(x, model, draws(3)), condition_of(model, LABELS)
    later = row.layout.but(position=row.layout.position + torch.tensor([1000, 0, 0]))
    one, other = (paradigm.features(model, replace(row, layout=layout), condition) for layout in (row.layout, later))
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


# Law 8, and conditions.


@every
@guided
@pytest.mark.parametrize("lengths", [None, torch.tensor([8, 3, 5])], ids=["full", "ragged"])
@torch.inference_mode()
def test_a_clip_does_not_depend_on_its_neighbours(
    paradigm: Paradigm, options: SampleOptions, lengths: Tensor | None
) -> None:
    model, actions = model_for(paradigm), actions_for(4)

    def drawn(rows: Tensor) -> Tensor:
        conditions = {"class": LABELS[rows], "actions": actions[rows]}
        own = None if lengths is None else lengths[rows]
        return last(paradigm, model, Request(draws(3).rows(rows), own, conditions=conditions), options)

    together = drawn(torch.arange(3))
    for row in range(3):
        length = 8 if lengths is None else int(lengths[row])
        same(drawn(torch.tensor([row]))[0, :length], together[row, :length])


@by_frame
@torch.inference_mode()
def test_actions_are_asked_for_frame_by_frame_and_only_then(paradigm: Paradigm) -> None:
    """A person may steer: the function is asked once for each frame, in order, when all earlier ones are there; and
    what is answered late changes nothing early.
    """
    model, frames_so_far, actions = model_for(paradigm), [], actions_for(6)
    states = []

    def steer(frame: int) -> Tensor:
        assert frame == 0 or states[-1].committed[:, : frame * SIZE].all()
        frames_so_far.append(frame)
        return actions[:, frame]

    for state in paradigm.sample(model, request_for(paradigm, (6, 1, 2), actions=steer), SampleOptions()):
        states.append(state)
    assert frames_so_far == list(range(6))
    same(states[-1].tokens, last(paradigm, model, request_for(paradigm, (6, 1, 2), actions=actions)))
    other = actions.clone()
    other[:, 4:] = (other[:, 4:] + 2) % ACTIONS
    changed = last(paradigm, model, request_for(paradigm, (6, 1, 2), actions=other))
    same(states[-1].tokens[:, : 4 * SIZE], changed[:, : 4 * SIZE])


@every
def test_training_sees_the_actions(paradigm: Paradigm) -> None:
    """The action of a frame reaches the features that predict it, and none that predict an earlier one."""
    model, x = model_for(paradigm), tokens_for(paradigm)
    row = paradigm.corrupt(x, model, draws(3))

    def features(actions: Tensor) -> Tensor:
        return paradigm.features(model, row, condition_of(model, LABELS, actions=actions))

    before = features(actions_for(4))
    for frame in range(4):
        actions = actions_for(4)
        actions[:, frame] = (actions[:, frame] + 2) % ACTIONS
        moved = (features(actions) != before).any(-1)
        assert moved[:, frame * SIZE : (frame + 1) * SIZE].all()
        if not isinstance(paradigm, Masked | MaskedDiffusion):
            assert not moved[:, : frame * SIZE].any()


def test_complete_and_masked_teacher_forcing_meet_where_the_history_is_whole() -> None:
    """Nothing hidden in the history, and the last frame predicted: both read the same row (MAGI, section 3.2)."""
    paradigms = [BlockDiffusion("frame", history=history) for history in ("complete", "corrupted")]
    model, x = model_for(paradigms[0]), tokens_for(paradigms[0])
    condition, last_frame = condition_of(model, LABELS), torch.arange(8) >= 6
    features = []
    for paradigm in paradigms:
        row = paradigm.corrupt(x, model, draws(3))
        hidden = torch.zeros_like(row.hidden)
        hidden[:, -8:] = last_frame
        features.append(model(row.values, row.layout, row.mask, condition, hidden, outputs=SIZE))
    torch.testing.assert_close(*features, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["complete", "hidden-history", "frame", "acdit", "forcing"])
@torch.inference_mode()
def test_context_noise_is_in_the_cache_and_not_in_the_clip(name: str) -> None:
    paradigm = WINDOWED[name]
    model = model_for(paradigm)
    known = tokens_for(paradigm, LONG).values
    keep = torch.zeros(3, len(known[0]), dtype=torch.bool)
    keep[:, : 4 * SIZE] = True
    request = request_for(paradigm, known=known, keep=keep)
    clean = last(paradigm, model, request)
    passes = recorded(model, paradigm, request, SampleOptions(context_noise=0.8))
    noised = last(paradigm, model, request, SampleOptions(context_noise=0.8))
    assert torch.equal(noised[keep], known[keep]) and not torch.equal(clean, noised)
    if name == "forcing":  # the generator is told how much
        seen = torch.cat([each.named["modulation"][:, :-SIZE] for each in passes if each.named["store"]], dim=1)
        levels = torch.full(seen.shape[:2], 0.8, dtype=torch.float64)
        torch.testing.assert_close(seen, paradigm.modulation(model, levels))


def test_what_cannot_be_is_refused_in_one_line() -> None:
    block = BlockDiffusion("frame", steps=2)
    model = model_for(block)
    cases = {
        "window 0": lambda: BlockDiffusion("frame", window=0),
        "without a window": lambda: FrameAutoregressive(sink=1),
        r"context_noise 1.5 must lie in \[0, 1\]": lambda: BlockDiffusion("frame", context_noise=1.5),
        "shows a block those after it": lambda: list(
            BlockDiffusion("frame", mask="bidirectional", history="corrupted").sample(
                model, request_for(block), SampleOptions()
            )
        ),
        "only the number of frames may differ": lambda: last(block, model, request_for(block, (4, 2, 2))),
        "trained without actions": lambda: last(block, model_for(block, actions=0), request_for(block)),
        "action 11 is out of range: known are 0 to 2": lambda: last(
            block, model, request_for(block, actions=actions_for(16) + 9)
        ),
        "3 samples of 16 frames": lambda: last(block, model, request_for(block, actions=actions_for(4))),
        "context_noise does nothing": lambda: last(
            Autoregressive(), model, request_for(block), SampleOptions(context_noise=0.1)
        ),
        "no block ever saw an unfinished one": lambda: last(
            block, model, request_for(block), SampleOptions(parallel_blocks=2)
        ),
        "makes each frame in one pass": lambda: last(
            FrameAutoregressive(), model, request_for(block), SampleOptions(parallel_blocks=2)
        ),
        "learned table of positions": lambda: last(
            block, generator(TokenSpec("bits", 4, GRID)), Request(draws(3), grid=LONG, conditions={"class": LABELS})
        ),
    }
    for text, make in cases.items():
        with pytest.raises(UserError, match=text):
            make()


def test_one_stream_is_half_as_long_as_two() -> None:
    x = tokens_for(BlockDiffusion("frame"))
    lengths = []
    for history in ("complete", "corrupted"):
        paradigm = BlockDiffusion("frame", history=history)
        row = paradigm.corrupt(x, model_for(paradigm), draws(3))
        assert bool((row.layout.role[0, 1:] == Role.NOISY).all()) == (history == "corrupted")
        lengths.append(row.layout.length)
    assert lengths == [1 + 6 + 8, 1 + 8]
