"""All demos one after the other, in one given time, and a page of all of them."""

import json
import time
from pathlib import Path

from rich.console import Console

from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.single import METRICS, walk_through
from mmgen.core.errors import UserError
from mmgen.page.chapters import chapters
from mmgen.page.overview import PAGE
from mmgen.page.page import duration
from mmgen.page.stored import read_page
from mmgen.store.results import write_json


def walk_through_all(kinds: dict[str, type[Demo]], place: Path, end: float, before: float, console: Console) -> float:
    """Each demo in a folder of its own in `place`, and there a page of all of them and their figures.

    Those that are finished are kept. What is left of the time is shared in proportion to what the demos take on the
    reference machine, so that time which one leaves is the others'.

    Args:
        kinds: name -> demo, in order.
        place: folder for all of them.
        end: time in seconds since 1970 at which all should be over.
        before: seconds before the first of them, such as for the set-up.
        console: where to tell.

    Returns:
        Seconds that all took together, in earlier sessions as well.

    Raises:
        UserError: no demo has the packages that it needs; the folder holds something else, or cannot be written.
        KeyboardInterrupt: with how to go on.
    """
    lacking = {name: kind.lacking() for name, kind in kinds.items()}
    able = {name: kind for name, kind in kinds.items() if not lacking[name]}
    if not able:
        raise UserError(f"no demo can run: {'; '.join(f'{name}: {why}' for name, why in lacking.items())}")
    folder, _ = DemoFolder.claim(place, {"demos": "all"})
    for name, why in lacking.items():
        if why:
            console.print(f"{name} is left out: {why}", markup=False, highlight=False)
    done = {name for name, kind in able.items() if DemoFolder.finished(place / name, kind.settings_class().record())}
    for name, kind in able.items():
        if name in done:
            console.print(f"\n[bold]{name}[/] is finished in {place / name}, and kept", highlight=False)
            continue
        open_ = [each for other, each in able.items() if other not in done]
        now = time.time()
        share = max(0.0, end - now) * seconds_of(kind) / sum(map(seconds_of, open_))
        console.rule(f"{name}: {duration(share)} of {duration(max(0.0, end - now))}")
        walk_through(kind, place / name, now + share, 0.0, console)
        done.add(name)
    return _write(list(able), lacking, folder, before)


def seconds_of(kind: type[Demo]) -> float:
    """What a demo takes on the reference machine."""
    return sum(stage.seconds for stage in kind.stages)


def _write(names: list[str], lacking: dict[str, str], folder: DemoFolder, before: float) -> float:
    """The page and the figures of all of them; how long they took."""
    found = {name: json.loads((folder.path / name / METRICS).read_text()) for name in names}
    seconds: float = before + sum(each["total_seconds"] for each in found.values())
    left_out = {name: why for name, why in lacking.items() if why}
    pages = {name: read_page(folder.path / name) for name in names}
    (folder.path / PAGE).write_text(chapters(pages, left_out, seconds), encoding="utf-8")
    write_json(folder.path / METRICS, {"total_seconds": round(seconds, 1), **found})
    return seconds
