"""Speech: sound while it is made, with its spectrogram."""

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmgen.media.spectrogram import spectrogram
from mmgen.modalities.speech.decoding import Chunk, without_silence
from mmgen.modalities.speech.sampling import require_speech_tokenizer, speech_spec, stream_speech
from mmgen.sampling.live import Pace, with_progress
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.sampling.samples import check_request, class_labels, pick_mode
from mmgen.sampling.texts import text_values
from mmgen.store.store import Loaded

_CHUNK = 0.2  # seconds of sound that are handed out together, at least


def stream_speech_previews(loaded: Loaded, request: SamplingRequest, every: float) -> Iterator[Preview]:
    """Sounds as far as they are said, and at the end those of `mmgen.modalities.speech.sampling.sample_speech`.

    Arguments and errors as for `mmgen.core.modality.Modality.stream`.
    """
    pick_mode(loaded, request.mode)
    rate = require_speech_tokenizer(loaded).sample_rate
    texts, labels = [request.text] * request.count, class_labels(request.classes, request.count, loaded)
    check_request(loaded, labels, request.options, request.count)
    speech_spec(loaded)
    text_values(loaded, texts)
    titles = _sound_titles(loaded, labels)
    sounds = torch.zeros(request.count, 0)
    pictures: Sequence[Tensor] = ()
    pace, began, done, steps, first, newest = Pace(every), time.perf_counter(), 0.0, 0, 0.0, None
    for part in with_progress(
        lambda report: stream_speech(
            loaded, request.mode, texts, labels, request.options, request.seed,
            batch=request.count, chunk=_CHUNK, progress=report,
        )
    ):  # fmt: skip
        if isinstance(part, Chunk):
            sounds, newest = torch.cat([sounds, part.sound[:, 0]], dim=1), part
            first = first or time.perf_counter() - began
        else:
            done, steps = part / request.count, steps + 1
        draw = pace.due()
        if isinstance(part, Chunk) or draw:  # all sound is handed out at once, and only drawing may wait
            if draw and sounds.numel():
                pictures = [spectrogram(sound, rate) for sound in sounds]
            so_far = f"step {steps}, {sounds.shape[1] / rate:.1f} s so far"
            state = None if newest is None else newest.state
            yield Preview(
                so_far, done, state, pictures=pictures, sounds=list(sounds), sample_rate=rate, sound_titles=titles
            )
        if draw:
            pace.drawn()
    whole = _whole(sounds, newest, rate, loaded.spec.stride)
    spoken, seconds = sum(map(len, whole)) / rate, time.perf_counter() - began
    said = f"{spoken:.1f} s of speech in {seconds:.2g} s, the first of it after {first:.2g} s"
    pictures = [spectrogram(sound, rate) for sound in whole]
    state = None if newest is None else newest.state
    yield Preview(said, 1.0, state, last=True, pictures=pictures, sounds=whole, sample_rate=rate, sound_titles=titles)


def _sound_titles(loaded: Loaded, labels: Tensor) -> list[str]:
    """The voice of each sound, or its number."""
    names = loaded.facts.class_names
    return [names[label] if label >= 0 and names else f"sample {row}" for row, label in enumerate(labels.tolist())]


def _whole(sounds: Tensor, last: Chunk | None, rate: int, stride: int) -> list[Tensor]:
    """Each sound of its own length, as `mmgen.modalities.speech.sampling.sample_speech` cuts it."""
    if last is None:  # all ended at once: nothing, but a sound
        return [torch.zeros(stride) for _ in sounds]
    if last.state.lengths is None:
        return [without_silence(sound, rate, stride) for sound in sounds]
    lengths = [max(1, length) * stride for length in last.state.lengths.tolist()]
    return [sound[:length] for sound, length in zip(sounds, lengths, strict=True)]
