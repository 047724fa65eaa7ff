"""Speech: sound while it is made, with its spectrogram."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmgen.media.spectrogram import spectrogram
from mmgen.modalities.speech.sampling import require_speech_tokenizer, stream_speech, without_silence
from mmgen.sampling.live import Moment, watch
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.store.store import Loaded

_CHUNK = 0.2  # seconds of sound that are handed out together, at least


def stream_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """Sounds as far as they are said, and at the end those that `mmgen sample` makes.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    rate, task = require_speech_tokenizer(loaded).sample_rate, request.task(loaded, needs_text=True)
    names, labels = loaded.facts.class_names, task.conditions["class"]
    assert isinstance(labels, Tensor)
    titles = [names[label] if label >= 0 and names else f"sample {n}" for n, label in enumerate(labels.tolist())]
    first, pictures = 0.0, list[Tensor]()

    def preview(caption: str, now: Moment, sounds: Sequence[Tensor], last: bool = False) -> Preview:
        return Preview(
            caption, 1.0 if last else now.progress, now.state, last, pictures, sounds=sounds, sample_rate=rate,
            sound_titles=titles,
        )  # fmt: skip

    for now in watch(task, lambda task: stream_speech(task, chunk=_CHUNK), every):
        sounds = torch.zeros(request.count, 0) if now.values is None else now.values[:, 0]
        first = first or now.seconds * now.fresh
        if now.due and sounds.numel():
            pictures = [spectrogram(sound, rate) for sound in sounds]
        if now.fresh or now.due:  # all sound is handed out at once, and only drawing may wait
            yield preview(f"step {now.steps}, {sounds.shape[1] / rate:.1f} s so far", now, list(sounds))
    whole = _cut(now, rate, loaded.spec.stride, request.count)
    pictures = [spectrogram(sound, rate) for sound in whole]
    spoken = f"{sum(map(len, whole)) / rate:.1f} s of speech in {now.seconds:.2g} s"
    yield preview(f"{spoken}, the first of it after {first:.2g} s", now, whole, last=True)


def _cut(last: Moment, rate: int, stride: int, count: int) -> list[Tensor]:
    """Each sound of its own length, as `mmgen.modalities.speech.sampling.sample_speech` cuts it."""
    if last.values is None or last.newest is None:  # all ended at once: nothing, but a sound
        return [torch.zeros(stride)] * count
    sounds = last.values[:, 0]
    if last.newest.state.lengths is None:
        return [without_silence(sound, rate, stride) for sound in sounds]
    return [sound[: max(stride, length)] for sound, length in zip(sounds, last.newest.lengths.tolist(), strict=True)]
