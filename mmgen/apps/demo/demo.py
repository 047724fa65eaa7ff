"""A demo as its file tells it: stages of commands, each with the seconds that it takes on the reference machine."""

import itertools
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from mmgen.page.wording import join_words
from mmgen.store.recipes import recipes_root

NAMES = ("image", "video", "speech", "motion")
CALIBRATION = "calibration"
"""The stage after which the time is planned."""

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_CONFIG = re.compile(r"--config (\S+)")


@dataclass(frozen=True)
class Stage:
    """Commands with one headline.

    Args:
        name: in code, and of the run that it trains, if any.
        title: what it does, for people.
        seconds: that it takes on the two cores of the reference machine.
        commands: with `{demo}`, `{steps}`, `{validation}` and `{samples}` still to be filled in.
        optional: whether the demo goes on where one of them is refused, such as for want of a package.
    """

    name: str
    title: str
    seconds: float
    commands: list[str]
    optional: bool = False


@dataclass(frozen=True)
class Demo:
    """A list of commands that anyone could type.

    Args:
        name: of its file.
        title: of its page.
        lead: the first sentences there.
        needs: packages beside those that mmgen always brings -> the extra of mmgen that brings each.
        samples: numbers of samples a mode that figures may be measured over, the best first.
        runs: folders of runs that the page is about.
        stages: in order.
        data: content of `{demo}/data.yaml`; None where no command names it.
        listening_seconds: that measuring a sample takes beside drawing it.
    """

    name: str
    title: str
    lead: str
    needs: dict[str, str]
    samples: list[int]
    runs: list[str]
    stages: list[Stage]
    data: dict[str, Any] | None = None
    listening_seconds: float = 0.0

    @classmethod
    def read(cls, file: Path) -> "Demo":
        """From a file."""
        content = yaml.safe_load(file.read_text())
        stages = [
            Stage(**each | {"commands": [line for one in each["commands"] for line in expand(one)]})
            for each in content.pop("stages")
        ]
        return cls(name=file.stem, stages=stages, **content)

    @property
    def seconds(self) -> float:
        """What it takes on the reference machine."""
        return sum(stage.seconds for stage in self.stages)

    def missing(self) -> str:
        """Which of its packages are not installed, and how to mend that; empty where all are."""
        absent = {package: extra for package, extra in self.needs.items() if find_spec(package) is None}
        if not absent:
            return ""
        extras = ",".join(dict.fromkeys(absent.values()))
        return f"the demo needs the package {join_words(list(absent))}: pip install 'mmgen[{extras}]'"

    def settings(self) -> dict[str, Any]:
        """What an interrupted demo must agree in, to be continued."""
        commands = [line for stage in self.stages for line in stage.commands]
        files = dict.fromkeys(name for line in commands for name in _CONFIG.findall(line))
        recipes = {name: (recipes_root() / name).read_text() for name in files}
        return {"commands": commands, "data": self.data, "recipes": recipes}


def demos() -> dict[str, Demo]:
    """All of them by name."""
    return {name: Demo.read(Path(__file__).parent / f"{name}.yaml") for name in NAMES}


def expand(command: str) -> list[str]:
    """`sample --mode [ar|masked] --out [ar|masked]` as two commands: the choices of a line go in step."""
    choices = [found.split("|") for found in _CHOICE.findall(command)]
    if not choices:
        return [command]
    lines = []
    for each in zip(*choices, strict=True):
        following = itertools.chain(each)
        lines.append(_CHOICE.sub(lambda _, following=following: next(following), command))  # type: ignore[misc]
    return lines
