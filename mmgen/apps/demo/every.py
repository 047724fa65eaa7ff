"""All demos one after the other, in one given time, and a page of all of them."""

import json
import time
from pathlib import Path

from rich.console import Console

from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.folder import DemoFolder
from mmgen.apps.demo.runner import METRICS, PAGE, run_command, run_demo, silenced
from mmgen.core.errors import UserError
from mmgen.page.page import duration
from mmgen.store.results import write_json


def run_all(demos: dict[str, Demo], place: Path, end: float, before: float, console: Console) -> float:
    """Each demo in a folder of its own in `place`, and there a page of all of them and their figures.

    Those that are finished are left as they are. What is left of the time is shared in proportion to what the demos
    take on the reference machine, so that time which one leaves is the others'.

    Args:
        demos: name -> demo, in order.
        place: folder for all of them.
        end: time in seconds since 1970 at which all should be over.
        before: seconds before the first of them, such as for the set-up.
        console: where to tell.

    Returns:
        Seconds that all took together, in earlier sessions as well.

    Raises:
        UserError: no demo has the packages that it needs; the folder holds something else, or cannot be written.
        KeyboardInterrupt: with how to continue.
    """
    missing = {name: why for name, demo in demos.items() if (why := demo.missing())}
    able = {name: demo for name, demo in demos.items() if name not in missing}
    if not able:
        raise UserError(f"no demo can run: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
    folder, _ = DemoFolder.claim(place, {"demos": "all"})
    for name, why in missing.items():
        console.print(f"{name} is left out: {why}", markup=False, highlight=False)
    done = {name for name, demo in able.items() if DemoFolder.finished(place / name, demo.settings())}
    for name, demo in able.items():
        if name in done:
            console.print(f"\n[bold]{name}[/] is finished in {place / name}, and stays as it is", highlight=False)
            continue
        now = time.time()
        share = max(0.0, end - now) * demo.seconds / sum(able[other].seconds for other in able if other not in done)
        console.rule(f"{name}: {duration(share)} of {duration(max(0.0, end - now))}")
        run_demo(demo, place / name, now + share, 0.0, console)
        done.add(name)
    return _report(able, missing, folder, before)


def _report(demos: dict[str, Demo], missing: dict[str, str], folder: DemoFolder, before: float) -> float:
    """The page and the figures of all of them; how long they took."""
    metrics = {name: json.loads((folder.path / name / METRICS).read_text()) for name in demos}
    seconds: float = before + sum(each["total_seconds"] for each in metrics.values())
    words = ["report", *(str(folder.path / name / run) for name, demo in demos.items() for run in demo.runs)]
    for demo in demos.values():
        words += ["--title", demo.title, "--lead", demo.lead]
    notes = [f"From nothing to this page in {duration(seconds)}, the set-up included."]
    notes += [f"{name.capitalize()} is left out: {why}" for name, why in missing.items()]
    with silenced():
        run_command([*words, *(word for note in notes for word in ("--note", note)), "--out", str(folder.path / PAGE)])
    write_json(folder.path / METRICS, {"total_seconds": round(seconds, 1), **metrics})
    return seconds
