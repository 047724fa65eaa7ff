"""What commands that take a while have in common: a progress bar, and the line that runs them again."""

import inspect
import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmgen.core.terminal import print_safely


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[float], None]]:
    """A bar with the time that is left, on stderr, silent without a terminal; yields what sets how much is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def command_line(name: str, run: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """The shortest command that repeats a call of `run` with these arguments: what differs from its defaults."""
    words = ["mmgen", name]
    for parameter in inspect.signature(run).parameters.values():
        value = arguments[parameter.name]
        if parameter.default is parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY:
            words += [str(value)]
        elif value != parameter.default:
            option = f"--{parameter.name.rstrip('_')}"
            values = value if isinstance(value, list) else [value]
            words += [word for each in values for word in ([option] if each is True else [option, str(each)])]
    return shlex.join(words)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write record.json into a folder."""
    (folder / "record.json").write_text(json.dumps(record, indent=2) + "\n")


def print_record(record: dict[str, Any], out: str | Path) -> None:
    """Print a record, and where it was written."""
    for name, value in record.items():
        plain = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
        print_safely(f"{name + ':':22}{plain}")
    print_safely(f"{'written to:':22}{out}")


Progress = Callable[[float], None]
