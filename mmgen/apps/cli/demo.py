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
    and make a page of it. It runs commands that anyone could type, and prints each before it runs.

    The folder then holds index.html, which needs nothing else, metrics.json, and the trained runs. `all` does all four
    one after the other, each in a folder of its own, and makes one page of them; those whose packages are missing are
    named and left out.

    An interrupted demo is continued where it stopped; of `all`, those that are finished stay as they are. A finished
    one in the same folder is moved aside, to OUT-1, OUT-2, ...

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

    from mmgen.apps.demo.budget import set_up_seconds
    from mmgen.apps.demo.demo import demos
    from mmgen.apps.demo.runner import PAGE, run_all, run_demo
    from mmgen.core.errors import UserError
    from mmgen.page.wording import duration

    budget = (MINUTES_FOR_ALL if what == "all" else MINUTES) if minutes is None else minutes
    place = Path(out or ("runs/demo" if what == "image" else f"runs/demo-{what}"))
    console, known = Console(soft_wrap=True), demos()
    before = set_up_seconds(os.environ.get("MMGEN_DEMO_STARTED"), time.time())
    end = time.time() + 60 * budget - before
    if what == "all":
        seconds = run_all(known, place, end, before, console)
    else:
        if why := known[what].missing():
            raise UserError(why)
        seconds = run_demo(known[what], place, end, before, console)
    console.print(f"\nEverything took {duration(seconds)}. Look at [bold]{place / PAGE}[/]", highlight=False)
