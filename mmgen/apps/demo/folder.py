"""The folder of a demo and what is finished in it: an interrupted demo goes on, a finished one is never lost."""

import json
import shutil
from itertools import count
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError
from mmgen.media.folders import new_folder
from mmgen.store.results import write_json

MARKER = "demo.json"


class DemoFolder:
    """A folder that the demo made.

    Args:
        path: it exists.
        record: content of its marker: `settings`, `stages` (name -> what it left), `seconds` of earlier sessions, and
            whether it is `complete`.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record

    @classmethod
    def claim(cls, path: Path, settings: dict[str, Any]) -> tuple["DemoFolder", Path | None]:
        """The folder to work in, and where an older demo was moved, if there was one.

        An interrupted demo with the same settings is gone on with. A finished one, or one with other settings, is moved
        aside to the first free of `path`-1, `path`-2, ...

        Args:
            path: any place.
            settings: what the stages depend on; plain JSON.

        Raises:
            UserError: it holds something that the demo did not make, or cannot be written.
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
        folder = cls(new_folder(path), {"settings": settings, "stages": {}, "seconds": 0.0, "complete": False})
        folder.write()
        return folder, moved

    @staticmethod
    def finished(path: Path, settings: dict[str, Any]) -> bool:
        """Whether a demo with these settings is finished there."""
        record = _read(path)
        return record is not None and record["complete"] and record["settings"] == settings

    def found(self, stage: str) -> dict[str, Any] | None:
        """What a finished stage left; None where it has not been finished."""
        return self.record["stages"].get(stage)

    def finish(self, stage: str, seconds: float, **left: Any) -> None:
        """Note that a stage is finished, after `seconds` of this demo in all."""
        self.record["stages"][stage] = left
        self.record["seconds"] = round(seconds, 2)
        self.write()

    def complete(self) -> None:
        """Note that all is done."""
        self.record["complete"] = True
        self.write()

    def free(self, name: str) -> Path:
        """A path in the folder with nothing there: what an unfinished stage left is removed."""
        path = self.path / name
        if path.exists():
            shutil.rmtree(path)
        return path

    def write(self) -> None:
        """Write the marker. Raises UserError where that is not possible."""
        write_json(self.path / MARKER, {"made_by": "mmgen demo", **self.record})


def _read(path: Path) -> dict[str, Any] | None:
    """The marker of a demo; None where there is none, or something else of that name."""
    try:
        record = json.loads((path / MARKER).read_text())
    except (OSError, ValueError):
        return None
    known = {"settings", "stages", "seconds", "complete"}
    ours = isinstance(record, dict) and record.pop("made_by", None) == "mmgen demo" and known == set(record)
    return record if ours else None
