"""Held-out sounds, and what a run makes of them: a tokenizer of each sound, a generator of its text and its voice."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgen.core.tokens import Tokens
from mmgen.data import DataModule
from mmgen.data.held_out import held_out_clips
from mmgen.data.sources import Batch
from mmgen.media.spectrogram import spectrogram_sheet
from mmgen.modalities.speech.sampling import decode_rows, without_silence
from mmgen.modalities.speech.tokenizers.audio import AudioTokenizer
from mmgen.paradigms import SampleOptions
from mmgen.sampling.preview import Preview
from mmgen.tokenizers import Tokenizer
from mmgen.training.generator_module import GeneratorModule
from mmgen.training.held_out import held_out_batch, sample_held_out
from mmgen.training.tokenizer_module import TokenizerModule


@dataclass(frozen=True, eq=False)
class SpeechPairs:
    """Held-out sounds and what was made of them, without the silence at their ends.

    Args:
        name: mode, or `reconstruction`.
        titles: what is said in each, or its number.
        truth: B sounds (1, T) in [-1, 1], on the CPU.
        made: likewise.
        sample_rate: in Hz.
    """

    name: str
    titles: list[str]
    truth: list[Tensor]
    made: list[Tensor]
    sample_rate: int

    def preview(self) -> Preview:
        """The spectrograms of a row of held-out sounds, and of what was made of them below, which can be heard."""
        titles = [*(f"held out: {text}" for text in self.titles), *(f"{self.name}: {text}" for text in self.titles)]
        sheet = spectrogram_sheet([*self.truth, *self.made], self.sample_rate, titles, columns=len(self.truth))
        sounds = [sound[0] for sound in self.made]
        return Preview(
            self.name, pictures=[sheet], sounds=sounds, sample_rate=self.sample_rate, sound_titles=self.titles
        )


@torch.no_grad()
def sound_reconstruction(module: TokenizerModule, data: DataModule, count: int) -> SpeechPairs:
    """Held-out sounds and their reconstructions."""
    tokenizer, batch = module.tokenizer, held_out_clips(data.samples("val"), count)
    assert isinstance(tokenizer, AudioTokenizer)
    x = batch["x"].to(module.device)
    made = tokenizer.decode(tokenizer.encode(x), x.shape[2]).float().cpu()
    lengths = _lengths(batch, x.shape[2])
    truth = [sound[:, :length] for sound, length in zip(batch["x"], lengths)]
    same = [sound[:, :length] for sound, length in zip(made, lengths)]
    return SpeechPairs("reconstruction", _titles(batch, data), truth, same, tokenizer.sample_rate)


@torch.no_grad()
def sound_samples(
    module: GeneratorModule, data: DataModule, tokenizer: Tokenizer, count: int, options: SampleOptions
) -> Iterator[SpeechPairs]:
    """Of every mode the held-out sounds, and sounds of the same texts and voices; always of the same draws. The mode
    `infill` fills in the middle third of each instead.

    Args:
        module: the generator.
        data: which it is trained on: raw sounds or tokens.
        tokenizer: on the module's device.
        count: B.
        options: of sampling.
    """
    assert isinstance(tokenizer, AudioTokenizer)
    rate, batch = tokenizer.sample_rate, held_out_batch(module, data, count)
    tokens: Tokens = batch["tokens"]
    whole = decode_rows(tokenizer, tokens.values, tokens.lengths)
    truth = [without_silence(sound, rate, tokenizer.spec.stride)[None] for sound in whole]
    titles = _titles(batch, data)
    for mode, last in sample_held_out(module, batch, options):
        sounds = decode_rows(tokenizer, last.tokens, last.lengths)
        least = torch.zeros(tokenizer.spec.stride)  # one that ended at once
        made = [without_silence(sound if len(sound) else least, rate, len(least))[None] for sound in sounds]
        yield SpeechPairs(mode, titles, truth, made, rate)


def _lengths(batch: Batch, count: int) -> list[int]:
    found: list[int] = batch["length"].tolist() if "length" in batch else [count] * len(batch["x"])
    return found


def _titles(batch: Batch, data: DataModule) -> list[str]:
    """What is said in each sound; its number where nobody knows."""
    if "text" in batch and data.source.text is not None:
        return [data.source.text.decode(symbols) for symbols in batch["text"].cpu()]
    return [f"sound {number}" for number in range(1, len(batch["label"]) + 1)]
