"""When the words of a text are heard: pairs of the character at which a word begins, and its second."""

from collections.abc import Iterable, Sequence

Words = Sequence[tuple[int, float]]


def from_end_to_end(text: str, words: Words, seconds: float) -> list[tuple[int, float]]:
    """Words, and the two ends of a text: it begins with its first, and ends where the sound of `seconds` does."""
    return sorted(({0: 0.0} | dict(words) | {len(text): seconds}).items())


def words_apart(
    texts: Iterable[str], words: Iterable[Words], seconds: Iterable[float]
) -> tuple[list[str], list[float]]:
    """All words of texts, each with the blank behind it, and the seconds that each takes."""
    parts: list[str] = []
    taken: list[float] = []
    for text, each, whole in zip(texts, words, seconds, strict=True):
        known = from_end_to_end(text, each, whole)
        for (first, begin), (last, end) in zip(known, known[1:]):
            parts.append(text[first:last])
            taken.append(end - begin)
    return parts, taken
