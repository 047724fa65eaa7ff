"""`mmgen demo`: the whole way, from data to a page of what was learned."""

from typing import Literal

MINUTES, MINUTES_FOR_ALL = 10.0, 28.0


def run(
    what: Literal["image", "video", "speech", "motion", "all"] = "image",
    *,
    out: str | None = None,
    minutes: float | None = None,
) -> None:
    """Train tokenizers and generators on digits, written, moving or spoken, or on motions of people; sample, measure,
    and make a page of it.

    The folder then holds index.html, which needs nothing else, metrics.json, and the trained runs. `all` does all four
    one after the other, each in a folder of its own, and makes one page of them; those whose packages are missing are
    named and left out. `mmgen gallery` makes a page that leads to several demos.

    An interrupted demo goes on where it stopped; of `all`, those that are finished are kept. A finished one in the same
    folder is moved aside, to OUT-1, OUT-2, ...

    Args:
        what: modality, or all of them.
        out: folder for everything that is made: the page, the figures, the trained runs; by default runs/demo for
            images, and runs/demo-WHAT for the others.
        minutes: how long it should take at most, with the set-up by `make` counted in; by default 10, and 28 for all of
            them. On a slow machine generators get fewer steps than their recipes say.
    """
    import os
    import time
    from pathlib import Path

    from rich.console import Console

    from mmgen.apps.demo.every import walk_through_all
    from mmgen.apps.demo.kinds import KINDS
    from mmgen.apps.demo.single import walk_through
    from mmgen.apps.demo.stages import set_up_seconds
    from mmgen.core.errors import UserError
    from mmgen.page.overview import PAGE
    from mmgen.page.page import duration

    given = (MINUTES_FOR_ALL if what == "all" else MINUTES) if minutes is None else minutes
    if given <= 0:
        raise UserError(f"--minutes {given:g} must be more than 0")
    place = Path(out or ("runs/demo" if what == "image" else f"runs/demo-{what}"))
    console = Console(soft_wrap=True)
    before = set_up_seconds(os.environ.get("MMGEN_DEMO_STARTED"), time.time())
    end = time.time() + 60 * given - before
    if what == "all":
        seconds = walk_through_all(KINDS, place, end, before, console)
    else:
        if why := KINDS[what].lacking():
            raise UserError(why)
        seconds = walk_through(KINDS[what], place, end, before, console)
    console.print(f"\nEverything took {duration(seconds)}. Look at [bold]{place / PAGE}[/]", highlight=False)
