"""Made-up results for the page of speech: a run that nobody trained."""

import torch
from torch import Tensor

from mmgen.core.masks import get_mask
from mmgen.modalities.speech.page.story import Codec, SpeechEdit, SpeechMode, SpeechStory
from mmgen.page.story import Curve, MaskPicture
from mmgen.page.tiles import pixels, webp_bytes

RATE = 4000
TEXTS = ["three, seven, one", "two, nine"]
WER = "wer_whisper_tiny_en"


def hum(seconds: float, pitch: float) -> Tensor:
    """(T,) in [-1, 1]."""
    return 0.4 * torch.sin(torch.arange(round(seconds * RATE)) * pitch)


def mode(name: str, wer: float, pitch: float) -> SpeechMode:
    return SpeechMode(
        name,
        [hum(0.8, pitch), hum(0.5, pitch)],
        ["3 7 1", "to nine"],
        {WER: wer, "forward_passes": 61.0, "seconds_per_second": 0.4 + wer},
        8,
        17,
        f"mmgen sample runs/demo-speech/generator --mode {name} --text '{TEXTS[0]}'",
        f"mmgen evaluate runs/demo-speech/generator --mode {name} --num 8",
    )


def codec(name: str, stoi: float) -> Codec:
    return Codec(
        name, [hum(0.7, 0.31), hum(0.6, 0.31)], {"stoi": stoi, "kbps": 1.6}, 24,
        "50 tokens a second, each of 4 codes out of 256", f"mmgen evaluate runs/demo-speech/{name.split()[0]}",
    )  # fmt: skip


def edited() -> SpeechEdit:
    before = hum(0.7, 0.3)
    return SpeechEdit(
        TEXTS[0], "three, two, one", "infill", before, torch.cat([before[:1000], hum(0.1, 0.7), before[1600:]]),
        (0.25, 0.4), (0.25, 0.35), "three to one", "mmgen edit runs/demo-speech/generator edits/0.wav",
    )  # fmt: skip


def story() -> SpeechStory:
    """Everything at once."""
    card = webp_bytes(pixels(torch.zeros(1, 32, 32)))
    masks = [
        MaskPicture("causal", get_mask("causal").sentence, card, (32, 32), ["ar"]),
        MaskPicture("bidirectional", get_mask("bidirectional").sentence, card, (32, 32), []),
    ]
    points = [(step, 3 + 100 / step) for step in (100, 200, 300)]
    return SpeechStory(
        sample_rate=RATE,
        texts=TEXTS,
        voices=["en-us+f1", "en-us+m1"],
        real=[hum(0.7, 0.3), hum(0.6, 0.3)],
        heard=["three seven one", "two nine"],
        codecs=[codec("residual codes", 0.913), codec("continuous tokens", 0.872)],
        modes=[mode("ar", 0.125, 0.35), mode("masked", 0.25, 0.36), mode("block", 0.0625, 0.37)],
        recordings=[{f"wer_floor{WER[3:]}": 0.015, f"wer_codec{WER[3:]}": 0.031}, {f"wer_floor{WER[3:]}": 0.015}],
        edits=[edited()],
        recogniser="whisper_tiny_en",
        curves=[Curve("Generator", "loss a token", {}, {"ar": points, "masked": points})],
        masks=masks,
        facts={"Machine": "2 cores of <a machine> & more"},
        total_seconds=511.0,
        commands=["mmgen fit --config tokenizers/spoken_digits_mel/config.yaml"],
    )
