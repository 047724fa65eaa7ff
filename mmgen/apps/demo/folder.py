"""The folder of a demo and what is done in it: an interrupted demo is continued, a finished one is never lost."""

import json
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.media.folders import new_folder
from mmgen.store.results import write_json

MARKER = "demo.json"
_NEW = {"lines": {}, "done": [], "worked": [0.0, 0.0], "seconds": 0.0, "complete": False}


@dataclass(frozen=True)
class DemoFolder:
    """A folder that the demo made, and the content of its marker: `settings`; the `lines` that commands became; those
    that are `done`; seconds that stages took here and on the reference machine, `worked`; `seconds` of earlier
    sessions; and whether it is `complete`.
    """

    path: Path
    record: dict[str, Any]

    @classmethod
    def claim(cls, path: Path, settings: dict[str, Any]) -> tuple["DemoFolder", Path | None]:
        """The folder to work in, and where an older demo was moved, if there was one.

        An interrupted demo with the same settings, what its commands depend on as plain JSON, is continued. A finished
        one, or one with other settings, is moved aside to the first free of `path`-1, `path`-2, ... Raises UserError
        where the folder holds something that the demo did not make, or cannot be written.
        """
        record, moved = _read(path), None
        if record is not None and not record["complete"] and record["settings"] == settings:
            return cls(path, record), None
        if record is not None:
            moved = next(place for n in count(1) if not (place := path.with_name(f"{path.name}-{n}")).exists())
            try:
                path.rename(moved)
            except OSError as error:
                raise UserError(f"{path} cannot be moved aside: {error.strerror}; choose another --out") from None
        folder = cls(new_folder(path), {"settings": settings, **_NEW})
        folder.update()
        return folder, moved

    @staticmethod
    def is_finished(path: Path, settings: dict[str, Any]) -> bool:
        """Whether a demo with these settings is finished there."""
        record = _read(path)
        return record is not None and record["complete"] and record["settings"] == settings

    def update(self, **values: Any) -> None:
        """Change the record. Raises UserError where it cannot be written."""
        self.record.update(values)
        write_json(self.path / MARKER, {"made_by": "mmgen demo", **self.record})


def _read(path: Path) -> dict[str, Any] | None:
    """The marker of a demo; None where there is none, or something else of that name."""
    try:
        record = json.loads((path / MARKER).read_text())
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.pop("made_by", None) == "mmgen demo"
    return record if ours and set(record) == {"settings", *_NEW} else None
