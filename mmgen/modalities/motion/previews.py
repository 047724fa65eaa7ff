"""Held-out motions, and what a run makes of them: a tokenizer of each motion, a generator of its class and its text."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmgen.data import DataModule
from mmgen.data.held_out import held_out_clips, titles_of
from mmgen.modalities.motion.drawing import draw_motion, motion_sheet, standing_still
from mmgen.modalities.motion.features import features_to_joints
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.pieces import decode_rows
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.held_out import held_out_batch, sample_held_out
from mmgen.training.tokenizer_module import TokenizerModule


def pair_preview(
    name: str, titles: Sequence[str], truth: Sequence[Tensor], made: Sequence[Tensor], fps: float
) -> Preview:
    """The poses of each held-out motion (T, J, 3), and of what was made of it below; in motion they stand side by
    side.
    """
    rows, captions = list[Tensor](), list[str]()
    for title, pair in zip(titles, zip(truth, made)):
        rows += pair
        captions += [f"held out: {title}", f"{name}: {title}"]
    longest = max(map(len, rows))
    still = [standing_still(row, longest) for row in rows]
    clips = [draw_motion(torch.stack(still[start : start + 2])) for start in range(0, len(still), 2)]
    return Preview(name, pictures=[motion_sheet(rows, captions, fps=fps)], clip=torch.cat(clips, 2), fps=fps)


@torch.no_grad()
def reconstruction_preview(module: TokenizerModule, data: DataModule, count: int) -> Preview:
    """Held-out motions and their reconstructions."""
    tokenizer, batch = module.tokenizer, held_out_clips(data.samples("val"), count)
    assert isinstance(tokenizer, MotionTokenizer)
    x = batch["x"].to(module.device)
    made, lengths = tokenizer.decode(tokenizer.encode(x), x.shape[2]), batch.get("length")
    each = [x.shape[2]] * len(x) if lengths is None else lengths.tolist()
    truth, same = (
        [features_to_joints(row[:, :length].mT) for row, length in zip(rows.float().cpu(), each)] for rows in (x, made)
    )
    return pair_preview("reconstruction", titles_of(batch, data.source, "motion"), truth, same, tokenizer.fps)


@torch.no_grad()
def sample_previews(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[Preview]:
    """Of every mode the held-out motions, and motions of the same classes, texts and lengths, unless they end by
    themselves; always of the same draws. Arguments as for `mmgen.core.modality.Modality.sample_previews`.
    """
    assert isinstance(tokenizer, MotionTokenizer)
    batch = held_out_batch(module, data, count)
    tokens = batch["tokens"]
    truth, lengths = _joints(tokenizer, tokens.values, tokens.lengths), None if module.paradigm.ends else tokens.lengths
    for mode, last in sample_held_out(module, batch, options, lengths):
        made = _joints(tokenizer, last.tokens, lengths if last.lengths is None else last.lengths)
        yield pair_preview(mode, titles_of(batch, data.source, "motion"), truth, made, tokenizer.fps)


def _joints(tokenizer: MotionTokenizer, tokens: Tensor, lengths: Tensor | None) -> list[Tensor]:
    """Joints (T, J, 3) of tokens (B, N, ...), each of its own length; one that ended at once has a token."""
    counts = [tokens.shape[1]] * len(tokens) if lengths is None else lengths.clamp_min(1).tolist()
    features = decode_rows(tokenizer, tokens, [tokenizer.spec.stride * count for count in counts])
    return [features_to_joints(each.mT) for each in features]
