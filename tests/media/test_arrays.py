"""Arrays of other programs: an error of the interpreter is no fault of the file."""

from pathlib import Path

import numpy as np
import pytest

from mmgen.media.arrays import open_array


def test_a_parser_that_was_entered_twice_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, load, raised = tmp_path / "x.npy", np.load, []
    np.save(path, np.arange(6.0))

    def once(*args: object, **options: object) -> np.ndarray:
        if not raised:
            raised.append(True)
            raise SystemError("AST constructor recursion depth mismatch (before=87, after=94)")
        return load(*args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "load", once)
    assert open_array(path).tolist() == list(range(6)) and raised
