"""`mmgen demo`: the whole way, from real data to a page of what was learned."""

from typing import Literal


def run(what: Literal["image"] = "image", *, out: str = "runs/demo", minutes: float = 10.0) -> None:
    """Train a tokenizer and a generator on real digits, sample in every mode, measure, and make a page of it.

    The folder then holds index.html, which needs nothing else, metrics.json, and the trained runs.

    An interrupted demo goes on where it stopped. A finished one in the same folder is moved aside, to OUT-1, OUT-2, ...

    Args:
        what: modality.
        out: folder for everything that is made: the page, the figures, the trained runs.
        minutes: how long it should take at most, with the set-up by `make` counted in. On a slow machine the generator
            gets fewer steps than its recipe says.
    """
    import os
    import time
    from pathlib import Path

    from rich.console import Console

    from mmgen.demo.folder import DemoFolder
    from mmgen.demo.image import STAGES, ImageDemo
    from mmgen.demo.settings import Settings
    from mmgen.demo.stages import Walk, set_up_seconds
    from mmgen.errors import UserError
    from mmgen.gallery import image_page, render
    from mmgen.gallery.page import duration
    from mmgen.results import write_json

    if minutes <= 0:
        raise UserError(f"--minutes {minutes:g} must be more than 0")
    console, settings = Console(soft_wrap=True), Settings()
    before = set_up_seconds(os.environ.get("MMGEN_DEMO_STARTED"), time.time())
    folder, moved = DemoFolder.claim(Path(out), settings.record())
    if moved is not None:
        console.print(f"{out} held an earlier demo, which is now in {moved}", highlight=False)
    earlier = folder.record["seconds"]
    walk = Walk(STAGES, time.time() + 60 * minutes - before, before + earlier, console)
    try:
        findings = ImageDemo(settings, folder, walk).run()
        with walk.stage("page"):
            material = findings.material(lambda: walk.gone)
            (folder.path / "index.html").write_text(render(image_page(material)), encoding="utf-8")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with {out} where it stopped") from None
    write_json(folder.path / "metrics.json", findings.figures(walk.gone))
    folder.complete()
    console.print(
        f"\nEverything took {duration(walk.gone)}. Look at [bold]{folder.path / 'index.html'}[/]", highlight=False
    )
