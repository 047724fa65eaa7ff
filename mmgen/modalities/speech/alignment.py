"""Which words of two texts differ, and when those of a recording are said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.modalities.speech.evaluation.transcripts import normal

Times = tuple[float, float]
"""Beginning and end in seconds."""

_FRAME, _PAUSE = 0.01, 0.08  # seconds
_QUIET_DB = (40.0, 35.0, 30.0, 45.0, 25.0)  # below the loudest moment: the noise between words is not always the same

Aligner = Callable[[Tensor, int], Sequence[tuple[str, float, float]]]
"""Finds the words of a sound (1, T) at a sample rate: each with its beginning and end in seconds."""


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared: in lower case, without punctuation, each digit as a word."""
    return normal(text, digit_by_digit=True).split()


@dataclass(frozen=True)
class Change:
    """Which words differ: `old[first:last]` become `new[start:stop]`; one of the two may be empty."""

    old: list[str]
    new: list[str]
    first: int
    last: int
    start: int
    stop: int

    @classmethod
    def between(cls, old: str, new: str) -> "Change":
        """From the first word that differs to the last one. Raises UserError where none does."""
        before, after = words_of(old), words_of(new)
        if before == after:
            raise UserError(f"--to says what --text says, {' '.join(before)!r}: nothing would change")
        codes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
        changed = [code for code in codes if code[0] != "equal"]
        return cls(before, after, changed[0][1], changed[-1][2], changed[0][3], changed[-1][4])


def find_span(sound: Tensor, sample_rate: int, change: Change, align: Aligner) -> Times:
    """Between which seconds of a sound (1, T) the words stand that change; where only new ones come in, the pause that
    they come into. Where pauses cut the sound into as many pieces as it has words, two or more, these are the words;
    otherwise `align` finds them. Raises UserError where other words are found in it than it should hold.
    """
    cuts = (between_pauses(sound, sample_rate, quiet) for quiet in _QUIET_DB)
    pieces = next((cut for cut in cuts if len(cut) == len(change.old) > 1), None)
    if pieces is not None:
        transcript = [(word, *times) for word, times in zip(change.old, pieces)]
    else:
        transcript = [(word, start, end) for text, start, end in align(sound, sample_rate) for word in words_of(text)]
    times = _matched(change.old, transcript)
    seconds = sound.shape[1] / sample_rate
    before = times[change.first - 1] if change.first else (0.0, 0.0)
    after = times[change.last] if change.last < len(change.old) else (seconds, seconds)
    within = times[change.first : change.last]
    needed = within if within else [before, after]
    if any(each is None for each in needed):
        words = " ".join(word for word, *_ in transcript) or "nothing"
        raise UserError(
            f"the words that change were not found in the sound, in which {words!r} was heard instead of"
            f" {' '.join(change.old)!r}: say between which seconds they stand, as --span 0.52:0.93"
        )
    if within:
        return min(each[0] for each in within if each), max(each[1] for each in within if each)
    assert before is not None and after is not None
    return before[1], max(before[1], after[0])


def between_pauses(sound: Tensor, sample_rate: int, quiet_db: float) -> list[Times]:
    """The pieces of a sound (1, T) between pauses of 80 ms or more, in seconds; what lies so many dB below the loudest
    moment is a pause.
    """
    size = max(1, round(_FRAME * sample_rate))
    frames = sound.detach().double().cpu().flatten()
    power = F.pad(frames, (0, -len(frames) % size)).view(-1, size).square().mean(1)
    loud = (power > power.max() * 10 ** (-quiet_db / 10)).nonzero()[:, 0].tolist()
    pieces: list[Times] = []
    for frame in loud:
        start, end = frame * size / sample_rate, min((frame + 1) * size, len(frames)) / sample_rate
        if pieces and start - pieces[-1][1] < _PAUSE:
            pieces[-1] = pieces[-1][0], end
        else:
            pieces.append((start, end))
    return pieces


def word_times(sound: Tensor, sample_rate: int) -> list[tuple[str, float, float]]:
    """Words of a sound (1, T) with beginning and end in seconds, as Whisper hears them.

    Raises:
        UserError: it is not installed.
    """
    from mmgen.modalities.speech.evaluation.recogniser import SURROUND, FasterWhisper, get_recogniser, padded_sound

    try:
        recogniser = get_recogniser()
    except UserError as error:
        raise UserError(f"{error}; or say between which seconds the words stand, as --span 0.52:0.93") from None
    assert isinstance(recogniser, FasterWhisper)
    (segments,) = recogniser.segments([padded_sound(sound[0], sample_rate)], word_timestamps=True)
    end = sound.shape[1] / sample_rate
    return [
        (word.word.strip(), *(min(max(at - SURROUND, 0.0), end) for at in (word.start, word.end)))
        for segment in segments
        for word in segment.words
    ]


def parse_span(text: str) -> Times:
    """`0.52:0.93` as seconds. Raises UserError where it is no such text."""
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        span = float(start), float(end)
    except ValueError:
        raise UserError(f"--span {text!r} must be two times in seconds, such as 0.52:0.93") from None
    return span


def _matched(old: list[str], transcript: Sequence[tuple[str, float, float]]) -> list[Times | None]:
    """When each word is said; None where it is missing. Where there are as many, each is taken for its own."""
    if len(transcript) == len(old):
        return [(start, end) for _, start, end in transcript]
    times: list[Times | None] = [None] * len(old)
    words = [word for word, *_ in transcript]
    for a, b, size in SequenceMatcher(None, old, words, autojunk=False).get_matching_blocks():
        for place in range(size):
            times[a + place] = transcript[b + place][1:]
    return times
