"""Texts as a person gives them, and as a generator reads them."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.store.store import Loaded


def read_texts(given: list[str]) -> list[str]:
    """Texts as `--text` takes them: a word that begins with @ names a file with one text a line.

    Raises:
        UserError: a file is missing, is no text, or has none in it.
    """
    texts: list[str] = []
    for text in given:
        texts += _lines(text[1:]) if text.startswith("@") else [text]
    return texts


def _lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"--text @{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"--text @{path} is no text in UTF-8") from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise UserError(f"--text @{path} holds no text")
    return found


def text_condition(loaded: Loaded) -> str | None:
    """The name of the condition that reads texts; None for a generator that reads none."""
    return next((name for name, each in loaded.generator.conditions.items() if each.reads_text), None)


def text_values(loaded: Loaded, texts: Sequence[str]) -> dict[str, Tensor]:
    """The values (B, ...) of the condition that reads texts, under its name; nothing where a generator reads none and
    all texts are empty.

    Raises:
        UserError: a text for a generator that reads none, one of unknown characters, or one that is empty or too long.
    """
    name = text_condition(loaded)
    if name is None:
        if any(texts):
            raise UserError(f"{loaded.path} was trained without texts, so it cannot read any: leave --text out")
        return {}
    return {name: loaded.generator.conditions[name].encode(texts)}
