"""A demo as its file describes it: stages of commands, each with the seconds that it takes on the reference machine."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmgen.core.yaml_text import read_yaml
from mmgen.page.wording import join_words
from mmgen.store.recipes import recipes_root

NAMES = ("image", "video", "speech", "motion")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")


@dataclass(frozen=True)
class Stage:
    """Commands with one headline, and the seconds that they take on the two cores of the reference machine. `{demo}`,
    `{steps}`, `{validation}` and `{samples}` in them are still to be filled in; its seconds are for so many `steps`, by
    default those of the recipe. Where one of an optional stage is refused, as for want of a package, the demo goes on.
    """

    title: str
    seconds: float
    commands: list[str]
    optional: bool = False
    steps: int | None = None

    @property
    def is_planned(self) -> bool:
        """Whether its training is as long as there is time for."""
        return any("{steps}" in line for line in self.commands)


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
    """

    name: str
    title: str
    lead: str
    needs: dict[str, str]
    samples: list[int]
    runs: list[str]
    stages: list[Stage]
    data: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """What it takes on the reference machine."""
        return sum(stage.seconds for stage in self.stages)

    def missing(self) -> str:
        """Which of its packages are not installed, and how to mend that; empty where all are."""
        absent = {package: extra for package, extra in self.needs.items() if find_spec(package) is None}
        extras = ",".join(dict.fromkeys(absent.values()))
        text = f"the demo needs the package {join_words(list(absent))}: pip install 'mmgen[{extras}]'"
        return text if absent else ""

    def settings(self) -> dict[str, Any]:
        """What an interrupted demo must agree in, to be continued."""
        commands = [line for stage in self.stages for line in stage.commands]
        files = dict.fromkeys(file for line in commands for file in re.findall(r"--config (\S+)", line))
        recipes = {file: (recipes_root() / file).read_text() for file in files}
        return {"commands": commands, "data": self.data, "recipes": recipes}


def demos() -> dict[str, Demo]:
    """All of them by name."""
    return {name: _read(Path(__file__).parent / f"{name}.yaml") for name in NAMES}


def _read(file: Path) -> Demo:
    content = read_yaml(file)
    for stage in content["stages"]:
        stage["commands"] = [line for command in stage["commands"] for line in expand(command)]
    return Demo(file.stem, **content | {"stages": [Stage(**stage) for stage in content["stages"]]})


def expand(command: str) -> list[str]:
    """`sample --mode [ar|masked] --out [ar|masked]` as two commands: the choices of a line go in step."""
    texts, choices = _CHOICE.split(command)[::2], [match.split("|") for match in _CHOICE.findall(command)]
    rows = zip(*choices, strict=True) if choices else [()]
    return ["".join(part for pair in zip(texts, (*row, "")) for part in pair) for row in rows]
