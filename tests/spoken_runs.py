"""Run folders of speech made by hand, as `mmgen fit` leaves them, so that speaking is tested without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmgen.core.characters import Text
from mmgen.core.vocabulary import Names, Vocabulary
from mmgen.store.rebuild import build_tokenizer
from tests.data_modules import data_section
from tests.tiny_runs import ending, scramble, timed_run, write_tokenizer

RATE, STRIDE, SECONDS = 1600, 40, 0.6
TOKENS = round(RATE * SECONDS) // STRIDE
VOICES = ["ada", "bob"]
TEXT = Text(" abcdefghij", 16)
QUANTIZER = {"class_path": "mmgen.tokenizers.quantizers.ResidualVQ", "init_args": {"codes": 8, "dim": 4, "levels": 2}}
CONTINUOUS = {"class_path": "mmgen.tokenizers.quantizers.Gaussian", "init_args": {"dim": 4}}
SPAN_INFILL = {"class_path": "mmgen.paradigms.SpanInfill", "init_args": {"most": 1}}
PARADIGM = {
    "class_path": "mmgen.paradigms.Mixture",
    "init_args": {
        "members": {
            "ar": {"class_path": "mmgen.paradigms.CodebookAutoregressive", "init_args": {"pattern": "delay"}},
            "masked": {"class_path": "mmgen.paradigms.MaskedCodebooks", "init_args": {"steps": [2, 1]}},
            "infill": SPAN_INFILL,
        }
    },
}
BLOCK = {
    "class_path": "mmgen.paradigms.ContinuousBlockDiffusion",
    "init_args": {"split": 6, "process": {"class_path": "mmgen.paradigms.Flow"}, "steps": 2},
}
_SMALL = {"channels": 2, "width": 8, "blocks": 1}


def codec_run(folder: Path, quantizer: dict[str, Any] = QUANTIZER) -> Path:
    """A codec of sounds of 0.6 s at 1600 Hz, 24 tokens of two codes each, that streams."""
    tokenizer = {
        "class_path": "mmgen.modalities.speech.tokenizers.codec.SEANetCodec",
        "init_args": {"quantizer": quantizer, "sample_rate": RATE, "seconds": SECONDS, "ratios": [8, 5], **_SMALL},
    }
    module = scramble(build_tokenizer({"tokenizer": tokenizer}, "tests"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module.train()(torch.rand(4, 1, 2 * STRIDE * TOKENS) - 0.5)  # fills the codebooks
    return write_tokenizer(folder, tokenizer, module)


def speech_run(
    folder: Path,
    tokenizer: Path,
    paradigm: dict[str, Any] = PARADIGM,
    text: Text | None = TEXT,
    ends: bool = False,
    classes: int = len(VOICES),
    data: dict[str, Any] | None = None,
    voices: Sequence[str] = VOICES,
) -> Path:
    """A generator of one narrow block that speaks; with `ends`, paradigms over codebooks model where it ends."""
    conditions: dict[str, Vocabulary] = {"class": Names(tuple(voices[:classes]))} if classes else {}
    conditions |= {} if text is None else {"text": text}
    data = data or data_section("EspeakSpeech", tokenizer=str(tokenizer))
    paradigm = ending(paradigm) if ends else paradigm
    return timed_run(folder, tokenizer, TOKENS * STRIDE, conditions, paradigm, data, sample_rate=RATE)
