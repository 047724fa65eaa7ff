"""One demo from its folder to its page."""

import time
from pathlib import Path

from rich.console import Console

from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.stages import Walk
from mmgen.page import render
from mmgen.page.overview import PAGE, Summary
from mmgen.page.stored import write_page
from mmgen.store.results import write_json

METRICS = "metrics.json"


def walk_through(kind: type[Demo], place: Path, end: float, before: float, console: Console) -> float:
    """Do all that is still to be done; the folder then holds the page and the figures.

    Args:
        kind: of the demo.
        place: its folder.
        end: time in seconds since 1970 at which it should be over.
        before: seconds that it took before, such as for the set-up.
        console: where to tell.

    Returns:
        Seconds that it took in all, in earlier sessions as well.

    Raises:
        UserError: the folder holds something else, or cannot be written.
        KeyboardInterrupt: with how to go on.
    """
    settings = kind.settings_class()
    folder, moved = DemoFolder.claim(place, settings.record())
    if moved is not None:
        console.print(f"{place} held an earlier demo, which is now in {moved}", highlight=False)
    walk = Walk(kind.stages, end, before + folder.record["seconds"], console)
    try:
        findings = kind(settings, folder, walk).run()
        with walk.stage("page"):
            page = findings.page(lambda: walk.gone)
            (folder.path / PAGE).write_text(render(page), encoding="utf-8")
            Summary.of(page).write(folder.path)
            write_page(page, folder.path)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with {place} where it stopped") from None
    write_json(folder.path / METRICS, findings.figures(walk.gone))
    folder.complete()
    return time.time() - walk.begun
