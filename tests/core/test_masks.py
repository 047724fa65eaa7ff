"""The catalogue: every mask against a second transcription in plain Python, and counts that are known exactly."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmgen.apps.cli.main import main
from mmgen.core.errors import UserError
from mmgen.core.layout import Layout, clean, grid_layout, noisy, prefix
from mmgen.core.masks import CATALOGUE, Family, example, get_mask
from mmgen.media import mask_picture
from mmgen.media.mask_picture import ROLES, catalogue_sheet, cell_colours, mask_image

Sees = Callable[[SimpleNamespace, SimpleNamespace], bool]
SHEET = Path(__file__).parents[2] / "docs" / "masks.png"


def shared_prefix(sees: Sees) -> Sees:
    """PREFIX is visible to all and sees PREFIX alone."""

    def whole(q: SimpleNamespace, k: SimpleNamespace) -> bool:
        if k.role == "PREFIX":
            return True
        return q.role != "PREFIX" and sees(q, k)

    return whole


def two_streams(earlier: Callable[[SimpleNamespace], int]) -> Sees:
    """The pseudo-mask of s2s-ft: a true stream, and a twin of it that is to be predicted."""

    def sees(q: SimpleNamespace, k: SimpleNamespace) -> bool:
        if q.role == "CLEAN":
            return k.role == "CLEAN" and earlier(k) <= earlier(q)
        return (k.role == "CLEAN" and earlier(k) < earlier(q)) or (k.role == "NOISY" and earlier(k) == earlier(q))

    return sees


def merged(stride: int) -> Sees:
    return lambda q, k: k.rank == q.rank or (k.rank < q.rank and k.rank % stride == stride - 1)


REFERENCES: dict[str, Sees] = {
    "bidirectional": lambda q, k: True,
    "causal": lambda q, k: not k.rank > q.rank,
    "block_causal": shared_prefix(lambda q, k: not k.block > q.block),
    "frame_wise": shared_prefix(lambda q, k: k.rank <= q.rank or (k.frame == q.frame and q.frame != -1)),
    "frame_local": shared_prefix(lambda q, k: k.frame == q.frame),
    "temporal_causal": shared_prefix(lambda q, k: k.position[1:] == q.position[1:] and k.frame <= q.frame),
    "skip_causal": shared_prefix(two_streams(lambda p: p.block)),
    "unconditional_history": lambda q, k: (
        q.role != "CLEAN" if k.role == "PREFIX" else q.role != "PREFIX" and two_streams(lambda p: p.block)(q, k)
    ),
    "any_order": shared_prefix(two_streams(lambda p: p.rank)),
    "permuted": shared_prefix(lambda q, k: k.role == "CLEAN" or (q.role == "NOISY" and not k.rank < q.rank)),
    "prefix": shared_prefix(lambda q, k: k.rank <= q.rank),
    "document": lambda q, k: True,
    "sliding_window(1)": shared_prefix(lambda q, k: k.rank == q.rank),
    "sliding_window(3)": shared_prefix(lambda q, k: k.rank in range(q.rank - 2, q.rank + 1)),
    "block_window(1)": shared_prefix(lambda q, k: k.block == q.block),
    "block_window(3)": shared_prefix(lambda q, k: k.block in range(q.block - 2, q.block + 1)),
    "block_sink(1)": shared_prefix(lambda q, k: k.block == q.block or k.block in range(-1, min(q.block, 0) + 1)),
    "block_sink(2)": shared_prefix(lambda q, k: k.block == q.block or k.block in range(-1, min(q.block, 1) + 1)),
    "level_local(1)": shared_prefix(
        lambda q, k: q.level == 0 or k.position[0] in range(q.position[0] - 1, q.position[0] + 2)
    ),
    "level_local(2)": shared_prefix(
        lambda q, k: q.level == 0 or k.position[0] in range(q.position[0] - 2, q.position[0] + 3)
    ),
    "condition_isolated": lambda q, k: q.segment in (0, k.segment),
    "label_independent": shared_prefix(lambda q, k: k.segment == q.segment and k.rank <= q.rank),
    "stride_aware(1)": shared_prefix(lambda q, k: k.rank <= q.rank),
    "stride_aware(2)": shared_prefix(merged(2)),
    "stride_aware(4)": shared_prefix(merged(4)),
    "cross_causal": shared_prefix(lambda q, k: k.frame <= q.frame),
    "segment": lambda q, k: k.rank <= q.rank or (q.role == "PREFIX" and k.segment == q.segment),
    "soft(0.5)": lambda q, k: k.rank <= q.rank,
}


def dense_by_hand(sees: Sees, queries: Layout, keys: Layout) -> list[list[list[bool]]]:
    """Two loops over positions that are plain numbers; documents are kept apart."""

    def positions(layout: Layout, row: int) -> list[SimpleNamespace]:
        row = row if layout.batch > 1 else 0
        names = ("rank", "block", "frame", "document", "segment", "level")
        return [
            SimpleNamespace(
                position=layout.position[row, n].tolist(),
                role=("PREFIX", "CLEAN", "NOISY")[int(layout.role[row, n])],
                **{name: int(getattr(layout, name)[row, n]) for name in names},
            )
            for n in range(layout.length)
        ]

    return [
        [[k.document == q.document and sees(q, k) for k in positions(keys, row)] for q in positions(queries, row)]
        for row in range(max(queries.batch, keys.batch))
    ]


def random_layout(seed: int, batch: int, length: int) -> Layout:
    """Fields drawn apart from each other, so that no predicate gets away with reading the wrong one."""
    source = torch.Generator().manual_seed(seed)

    def field(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, (batch, length, *shape), generator=source)

    return Layout(
        position=field(0, 3, 3),
        rank=field(-2, 8),
        block=field(-1, 4),
        frame=field(-1, 3),
        document=field(0, 2),
        segment=field(0, 3),
        level=field(0, 2),
        role=field(0, 3),
    )


@pytest.mark.parametrize("name", REFERENCES)
@settings(deadline=None, derandomize=True, max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    batches=st.sampled_from([(1, 1), (2, 2), (1, 2)]),
    sizes=st.tuples(*[st.integers(1, 9)] * 2),
)
def test_mask_is_its_reference_on_any_layout(
    name: str, seed: int, batches: tuple[int, int], sizes: tuple[int, int]
) -> None:
    queries, keys = random_layout(seed, batches[0], sizes[0]), random_layout(seed + 1, batches[1], sizes[1])
    dense = get_mask(name).dense(queries, keys)
    assert dense.shape == (max(batches), 1, *sizes)
    assert dense[:, 0].tolist() == dense_by_hand(REFERENCES[name], queries, keys)


def test_every_mask_has_a_reference_and_no_other_has() -> None:
    assert {re.sub(r"\(.*", "", name) for name in REFERENCES} == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_mask_says_what_it_is(name: str) -> None:
    mask = get_mask(name)
    assert mask.sentence.endswith(".")
    assert re.search(r"\d{4}", mask.source), "a source has its year"
    assert mask.sentence == CATALOGUE[name].sentence


OWN_PREFIX = {
    "bidirectional",
    "causal",
    "document",
    "condition_isolated",
    "segment",
    "soft",
    "unconditional_history",
}  # their words include it


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name not in OWN_PREFIX])
def test_a_prefix_is_visible_to_all_and_sees_itself_alone(name: str) -> None:
    layout = prefix(2) + grid_layout((3, 1, 2), block_size=2) + noisy(grid_layout((3, 1, 2), block_size=2))
    visible = get_mask(name).dense(layout, layout)[0, 0]
    assert visible[:, :2].all()
    assert not visible[:2, 2:].any()


@pytest.mark.parametrize(("blocks", "size"), [(1, 1), (1, 5), (4, 1), (3, 2), (5, 3)])
def test_visible_pairs_are_as_many_as_the_papers_count(blocks: int, size: int) -> None:
    """skip_causal: b^2 T (T + 1) pairs; block_causal: half of them (T blocks of b)."""
    grid = grid_layout((1, 1, blocks * size), block_size=size)
    both = clean(grid) + noisy(grid)
    pairs = size**2 * blocks * (blocks + 1)
    assert get_mask("skip_causal").dense(both, both).sum() == pairs
    assert get_mask("block_causal").dense(grid, grid).sum() * 2 == pairs
    assert get_mask("causal").dense(grid, grid).sum() * 2 == grid.length * (grid.length + 1)


# Names and options.


def test_one_name_is_one_mask() -> None:
    """Dense masks are cached by the mask's identity."""
    assert get_mask("sliding_window(8)") is get_mask(" sliding_window( 8 ) ")
    assert get_mask("causal") is CATALOGUE["causal"]
    family = CATALOGUE["sliding_window"]
    assert isinstance(family, Family)
    assert family(8) is get_mask("sliding_window(8)")
    assert family() is get_mask("sliding_window") is get_mask("sliding_window()")
    assert get_mask("sliding_window(8)").name == "sliding_window(8)"
    assert get_mask("soft(0.25)").leak == 0.25


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("skip_casual", "no mask 'skip_casual'; did you mean 'skip_causal'"),
        ("Causal", "did you mean 'causal'"),
        ("qwertyuiop", "no mask 'qwertyuiop' (mmgen masks"),
        ("", "no mask ''"),
        ("sliding_window(8", "did you mean 'sliding_window'"),
        ("__import__('os')", "no mask"),
        ("causal(3)", "mask 'causal' takes no option"),
        ("sliding_window(2.5)", "takes a whole number as its width, got '2.5'"),
        ("sliding_window(x)", "takes a whole number as its width, got 'x'"),
        ("sliding_window(0)", "its width must be at least 1"),
        ("stride_aware(-2)", "its stride must be at least 1"),
        ("soft(1)", "a leak is a share from 0"),
        ("soft(-0.1)", "a leak is a share from 0"),
        ("soft(nan)", "a leak is a share from 0"),
    ],
)
def test_a_name_that_is_no_mask_is_told_in_one_line(name: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        get_mask(name)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


# Pictures.


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_picture_shows_the_predicate(name: str) -> None:
    """A cell has its key's colour where it is visible; where it is hidden it is grey, or pale if it leaks."""
    queries, keys = example(name)
    mask = get_mask(name)
    cells, visible = cell_colours(mask, queries, keys), mask.dense(queries, keys)[0, 0]
    for q in range(queries.length):
        for k in range(keys.length):
            colour = [int(ROLES[int(keys.role[0, k])][1][i : i + 2], 16) for i in (1, 3, 5)]
            if visible[q, k]:
                assert cells[q, k].tolist() == colour
            elif mask.leak:
                assert min(cells[q, k]) > min(colour)
                assert np.ptp(cells[q, k]) > 40
            else:
                assert np.ptp(cells[q, k]) < 10


def test_pictures_take_any_mask_and_any_size() -> None:
    composed = get_mask("causal") & get_mask("document") | get_mask("frame_local")
    grid = grid_layout((2, 9, 9), block_size=20)
    small, large = mask_image(composed, prefix(1)), mask_image(composed, clean(grid) + noisy(grid), scale=1)
    assert small.width > 300
    assert large.width > 2 * 324


def sheets_agree(one: Image.Image, other: Image.Image) -> bool:
    """Whether every part of the two pictures is the same, but for how letters are smoothed."""
    if one.size != other.size:
        return False
    small = [np.asarray(image.convert("RGB").reduce(8)).astype(float) for image in (one, other)]
    difference = np.abs(small[0] - small[1])
    rows, columns = (size // 8 for size in difference.shape[:2])
    parts = difference[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8, 3).mean((1, 3, 4))
    return bool(parts.max() < 4)


def test_the_sheet_in_the_documents_is_that_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stale after a change of the catalogue: `mmgen masks --out docs/masks.png` draws it anew. One without some mask is
    another one.
    """
    assert SHEET.stat().st_size < 450_000
    stored = Image.open(SHEET)
    assert sheets_agree(catalogue_sheet(), stored)
    for name in ("level_local", list(CATALOGUE)[-1]):
        monkeypatch.setattr(mask_picture, "CATALOGUE", {each: None for each in CATALOGUE if each != name})
        assert not sheets_agree(catalogue_sheet(), stored), name


# The command.


def test_the_command_draws_a_sheet_one_mask_or_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["masks"]) == 0
    assert Image.open("masks.png").size == Image.open(SHEET).size
    assert main(["masks", "sliding_window(6)", "--out", "deep/one.png"]) == 0
    assert Image.open("deep/one.png").width < 800
    assert main(["masks", "causal", "--folder", "each"]) == 0
    assert [path.name for path in Path("each").iterdir()] == ["causal.png"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["casual"], "did you mean 'causal'"),
        (["causal", "--out", "picture.what"], "no suffix of a picture"),
        (["causal", "--out", "taken/x.png"], "cannot be written"),
    ],
)
def test_the_command_tells_a_mistake_and_writes_nothing(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file where a folder is needed")
    assert main(["masks", *arguments]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_command_is_light(tmp_path: Path) -> None:
    program = f"""
import sys
from mmgen.apps.cli.main import main
assert main(["masks", "--out", {str(tmp_path / "all.png")!r}]) == 0
heavy = {{"lightning", "diffusers", "torchmetrics", "torchvision", "matplotlib", "torch._dynamo"}} & set(sys.modules)
sys.exit(f"imported {{sorted(heavy)}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=SHEET.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
