"""Held-out sounds, and what a run makes of them: a tokenizer of each sound, a generator of its text and its voice."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmgen.data import DataModule
from mmgen.data.held_out import held_out_clips, titles_of
from mmgen.media.spectrogram import spectrogram_sheet
from mmgen.modalities.speech.sampling import without_silence
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.pieces import decode_rows
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.held_out import held_out_batch, sample_held_out
from mmgen.training.tokenizer_module import TokenizerModule


def pair_preview(
    name: str, titles: Sequence[str], truth: Sequence[Tensor], made: Sequence[Tensor], sample_rate: int
) -> Preview:
    """The spectrograms of a row of held-out sounds (1, T), and of what was made of them below, which can be heard."""
    captions = [*(f"held out: {text}" for text in titles), *(f"{name}: {text}" for text in titles)]
    sheet = spectrogram_sheet([*truth, *made], sample_rate, captions, columns=len(truth))
    sounds = [sound[0] for sound in made]
    return Preview(name, pictures=[sheet], sounds=sounds, sample_rate=sample_rate, sound_titles=titles)


@torch.no_grad()
def reconstruction_preview(module: TokenizerModule, data: DataModule, count: int) -> Preview:
    """Held-out sounds and their reconstructions."""
    tokenizer, batch = module.tokenizer, held_out_clips(data.samples("val"), count)
    assert isinstance(tokenizer, AudioTokenizer)
    x = batch["x"].to(module.device)
    made = tokenizer.decode(tokenizer.encode(x), x.shape[2]).float().cpu()
    lengths = batch["length"].tolist() if "length" in batch else [x.shape[2]] * len(x)
    truth, same = ([sound[:, :length] for sound, length in zip(each, lengths)] for each in (batch["x"], made))
    return pair_preview("reconstruction", titles_of(batch, data.source, "sound"), truth, same, tokenizer.sample_rate)


@torch.no_grad()
def sample_previews(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[Preview]:
    """Of every mode the held-out sounds, and sounds of the same texts and voices; always of the same draws. The mode
    `infill` fills in the middle third of each instead. Arguments as for
    `mmgen.core.modality.Modality.sample_previews`.
    """
    assert isinstance(tokenizer, AudioTokenizer)
    rate, batch = tokenizer.sample_rate, held_out_batch(module, data, count)
    truth, titles = (
        _sounds(tokenizer, batch["tokens"].values, batch["tokens"].lengths),
        titles_of(batch, data.source, "sound"),
    )
    for mode, last in sample_held_out(module, batch, options):
        yield pair_preview(mode, titles, truth, _sounds(tokenizer, last.tokens, last.lengths), rate)


def _sounds(tokenizer: AudioTokenizer, tokens: Tensor, lengths: Tensor | None) -> list[Tensor]:
    """(1, T) each without the silence at its end; a token of silence for one that ended at once."""
    stride = tokenizer.spec.stride
    frames = [tokens.shape[1] * stride] * len(tokens) if lengths is None else (lengths * stride).tolist()
    sounds = [sound[0] if sound.numel() else torch.zeros(stride) for sound in decode_rows(tokenizer, tokens, frames)]
    return [without_silence(sound, tokenizer.sample_rate, stride)[None] for sound in sounds]
