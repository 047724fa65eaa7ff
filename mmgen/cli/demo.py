"""`mmgen demo`: the whole way, from data to a page of what was learned."""

from typing import Literal


def run(what: Literal["image", "video", "speech"] = "image", *, out: str | None = None, minutes: float = 10.0) -> None:
    """Train tokenizers and generators on digits, written, moving or spoken, sample, measure, and make a page of it.

    The folder then holds index.html, which needs nothing else, metrics.json, and the trained runs. `mmgen gallery`
    makes a page that leads to several of them.

    An interrupted demo goes on where it stopped. A finished one in the same folder is moved aside, to OUT-1, OUT-2, ...

    Args:
        what: modality.
        out: folder for everything that is made: the page, the figures, the trained runs; by default runs/demo for
            images, and runs/demo-WHAT for the others.
        minutes: how long it should take at most, with the set-up by `make` counted in. On a slow machine the generator
            gets fewer steps than its recipe says.
    """
    import os
    import time
    from pathlib import Path

    from rich.console import Console

    from mmgen.demo.folder import DemoFolder
    from mmgen.demo.kinds import KINDS
    from mmgen.demo.stages import Walk, set_up_seconds
    from mmgen.errors import UserError
    from mmgen.gallery import render
    from mmgen.gallery.overview import PAGE, Summary
    from mmgen.gallery.page import duration
    from mmgen.results import write_json

    if minutes <= 0:
        raise UserError(f"--minutes {minutes:g} must be more than 0")
    kind, place = KINDS[what], out or ("runs/demo" if what == "image" else f"runs/demo-{what}")
    console, settings = Console(soft_wrap=True), kind.settings_class()
    before = set_up_seconds(os.environ.get("MMGEN_DEMO_STARTED"), time.time())
    folder, moved = DemoFolder.claim(Path(place), settings.record())
    if moved is not None:
        console.print(f"{place} held an earlier demo, which is now in {moved}", highlight=False)
    earlier = folder.record["seconds"]
    walk = Walk(kind.stages, time.time() + 60 * minutes - before, before + earlier, console)
    try:
        findings = kind(settings, folder, walk).run()
        with walk.stage("page"):
            page = findings.page(lambda: walk.gone)
            (folder.path / PAGE).write_text(render(page), encoding="utf-8")
            Summary.of(page).write(folder.path)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with {place} where it stopped") from None
    write_json(folder.path / "metrics.json", findings.figures(walk.gone))
    folder.complete()
    console.print(f"\nEverything took {duration(walk.gone)}. Look at [bold]{folder.path / PAGE}[/]", highlight=False)
