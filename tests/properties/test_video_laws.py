"""Laws 1, 3 and 8 on clips, for every paradigm: what is hidden leaks nothing, a cache of bounded size equals the full
windowed row, and a clip does not depend on its neighbours; conditions may be told frame by frame.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, Role, noisy
from mmgen.core.mask import Mask
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.model.backbone import Cache
from mmgen.model.generator import Generator
from mmgen.paradigms import (
    DDPM,
    Autoregressive,
    BlockDiffusion,
    ContinuousBlockDiffusion,
    Decoding,
    Flow,
    FrameAutoregressive,
    Guidance,
    Masked,
    MaskedDiffusion,
    Paradigm,
    Request,
    SampleOptions,
)
from mmgen.paradigms.blocks.blockwise import Blockwise
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
def test_a_frame_is_predicted_without_itself_or_what_comes_later(paradigm: Paradigm) -> None:
    """Change the data of a frame: no bit of the features that predict it, or an earlier frame, changes, but by what
    training shows of it (the noisy copy itself).
    """
    model, x, frames = model_for(paradigm), tokens_for(paradigm), GRID[0]
    condition = condition_of(model, LABELS, actions=actions_for(frames))

    def features(values: Tensor) -> tuple[Tensor, Any]:
        row = paradigm.corrupt(Tokens(values, GRID), model, draws(3))
        return paradigm.features(model, row, condition), row

    before, row = features(x.values)
    for frame in range(frames):
        changed = x.values.clone()
        here = slice(frame * SIZE, (frame + 1) * SIZE)
        changed[:, here] = changed[:, here] + 1 if x.values.is_floating_point() else (changed[:, here] + 5) % 16
        after, _ = features(changed)
        blind = torch.zeros(3, 8, dtype=torch.bool)
        if isinstance(paradigm, Autoregressive):
            blind[:, : here.start + 1] = True
        elif isinstance(paradigm, FrameAutoregressive):
            blind[:, : here.stop] = True
        else:
            blind[:, : here.start] = not isinstance(paradigm, Masked | MaskedDiffusion)
            if row.hidden is not None and paradigm is not WINDOWED["halves"]:
                hidden = row.hidden[:, -8:]
                wholly = hidden[:, here].all(1)
                blind[wholly, here] = True
        assert torch.equal(before[blind], after[blind])
        nothing_seen = row.hidden is not None and bool(row.hidden.all())
        assert not torch.equal(before, after) or bool((row.weights == 0).any()) or nothing_seen or frame == frames - 1


@every
def test_the_gradient_to_what_is_hidden_is_zero(paradigm: Paradigm) -> None:
    model, x = model_for(paradigm), tokens_for(paradigm)
    row = paradigm.corrupt(x, model, draws(3))
    embedded: list[Tensor] = []

    def remember(_: Any, __: Any, output: Tensor) -> Tensor:
        embedded.append(output.detach().requires_grad_())
        return embedded[-1]

    handle = model.embedding.register_forward_hook(remember)
    features = paradigm.features(model, row, condition_of(model, LABELS))
    handle.remove()
    sees = reach(row.mask, row.layout, model.backbone.depth)[:, -8:, model.prefix_length :]
    for position in range(8):
        (gradient,) = torch.autograd.grad(features[:, position].sum(), embedded[0], retain_graph=True)
        moved = gradient.abs().sum(-1) > 0
        assert torch.equal(moved, sees[:, position].expand_as(moved))


def reach(mask: Mask, layout: Layout, depth: int) -> Tensor:
    """(b, N, N) bool: what reaches a position through all blocks, itself by the residual stream."""
    hop = mask.dense(layout, layout)[:, 0] | torch.eye(layout.length, dtype=torch.bool)
    found = hop
    for _ in range(depth - 1):
        found = (found.double() @ hop.double()) > 0
    return found


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
    rows = 3 if options.guidance.scale == 1 else 6
    stored: list[tuple[Tensor, Layout, Tensor | None, Tensor | None]] = []
    for each in passes:
        count = each.layout.length if each.named["store"] is None else each.named["store"]
        now = (each.values, each.layout, each.named["hidden"], each.named["modulation"])
        values, layout, hidden, modulation = joined([*stored, now], rows)
        expected = model(
            values, layout, paradigm.mask, each.named["condition"], hidden, outputs=each.named["outputs"],
            modulation=modulation,
        )  # fmt: skip
        torch.testing.assert_close(each.features, expected, rtol=1e-9, atol=1e-9)
        stored.append(first(now, count, rows))
    _, layout, _, _ = joined(stored, rows)
    finished = layout.position[0, layout.role[0] != Role.PREFIX]
    assert len(finished) == len(finished.unique(dim=0))  # none was computed twice
    assert torch.equal(finished[:, 0], finished[:, 0].sort().values)
    if paradigm in WINDOWED.values():
        short = recorded(model, paradigm, request_for(paradigm, GRID), options)
        assert {each.cache.capacity for each in passes} == {each.cache.capacity for each in short}


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


def first(part: Any, count: int, rows: int) -> Any:
    """The leading positions of a pass; the prefix holds no value."""
    values, layout, hidden, modulation = part
    kept = count - (layout.length - values.shape[1])
    return (
        values[:, :kept],
        layout.slice(0, count),
        None if hidden is None else hidden[:, :kept],
        None if modulation is None else modulation[:, :kept],
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
    stored: list[Any] = []
    for each in passes:
        now = (each.values, each.layout, each.named["hidden"], each.named["modulation"])
        values, layout, hidden, modulation = joined([*stored, now], 3)
        expected = model(
            values, layout, paradigm.mask, each.named["condition"], hidden, outputs=each.named["outputs"],
            modulation=modulation,
        )  # fmt: skip
        torch.testing.assert_close(each.features, expected, rtol=1e-9, atol=1e-9)
        count = each.layout.length if each.named["store"] is None else each.named["store"]
        stored.append(first(now, count, 3))
    assert torch.equal(last(paradigm, model, request_for(paradigm, known=known, keep=keep), options)[keep], known[keep])


@windowed
@torch.inference_mode()
def test_training_and_sampling_share_the_window(paradigm: Paradigm) -> None:
    """A pass of the sampler sees, of what was stored, exactly what the training mask shows."""
    model = model_for(paradigm)
    for each in recorded(model, paradigm, request_for(paradigm), SampleOptions())[-3:]:
        assert each.stored is not None
        seen = paradigm.mask.dense(each.layout, each.stored)[0, 0].any(0)
        assert bool(seen.all()) or each.named["store"] == 0  # nothing is kept that nobody sees


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
@torch.inference_mode()
def test_a_clip_does_not_depend_on_its_neighbours(paradigm: Paradigm, options: SampleOptions) -> None:
    model, grid = model_for(paradigm), (6, 1, 2)
    together = last(paradigm, model, request_for(paradigm, grid), options)
    for row in range(3):
        one = torch.tensor([row])
        alone = Request(
            draws(3).rows(one), grid=grid, conditions={"class": LABELS[one], "actions": actions_for(6)[one]}
        )
        same(last(paradigm, model, alone, options)[0], together[row])


@by_frame
@torch.inference_mode()
def test_ragged_clips_equal_each_alone(paradigm: Paradigm) -> None:
    model, lengths = model_for(paradigm), torch.tensor([8, 3, 5])
    actions = actions_for(4)
    together = last(paradigm, model, Request(draws(3), lengths, conditions={"class": LABELS, "actions": actions}))
    for row in range(3):
        one = torch.tensor([row])
        alone = last(
            paradigm,
            model,
            Request(draws(3).rows(one), lengths[one], conditions={"class": LABELS[one], "actions": actions[one]}),
        )
        same(alone[0, : int(lengths[row])], together[row, : int(lengths[row])])


@by_frame
@torch.inference_mode()
def test_actions_are_asked_for_frame_by_frame_and_only_then(paradigm: Paradigm) -> None:
    """A person may steer: the function is asked once for each frame, in order, when all earlier ones are there; and
    what is answered late changes nothing early.
    """
    model, asked, actions = model_for(paradigm), [], actions_for(6)
    states = []

    def steer(frame: int) -> Tensor:
        assert frame == 0 or states[-1].committed[:, : frame * SIZE].all()
        asked.append(frame)
        return actions[:, frame]

    for state in paradigm.sample(model, request_for(paradigm, (6, 1, 2), actions=steer), SampleOptions()):
        states.append(state)
    assert asked == list(range(6))
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
    found = []
    for paradigm in paradigms:
        row = paradigm.corrupt(x, model, draws(3))
        hidden = torch.zeros_like(row.hidden)
        hidden[:, -8:] = last_frame
        found.append(model(row.values, row.layout, row.mask, condition, hidden, outputs=SIZE))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


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
        said = torch.cat([each.named["modulation"][:, :-SIZE] for each in passes if each.named["store"]], dim=1)
        levels = torch.full(said.shape[:2], 0.8, dtype=torch.float64)
        torch.testing.assert_close(said, paradigm.modulation(model, levels))


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
    assert noisy(row.layout).length == 9


def test_a_history_that_is_corrupted_gives_no_likelihood() -> None:
    assert BlockDiffusion("frame").likelihood == "bound"
    assert BlockDiffusion("frame", history="corrupted").likelihood is None
    assert isinstance(BlockDiffusion("frame"), Blockwise) and Decoding() == Decoding()
