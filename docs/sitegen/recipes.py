"""The recipes: a table of them, and a page each with its card and its config."""

import re
from collections.abc import Iterator

from mmgen.apps.cli.list import PRINTERS
from sitegen.arguments import plain
from sitegen.links import ROOT, relative

KINDS = ("tokenizers", "experiments")


def pages() -> Iterator[tuple[str, str, str]]:
    """(path in the site, path of the card, Markdown) of every recipe."""
    for kind in KINDS:
        for name, about in PRINTERS[kind](kind):
            card, config = ROOT / name / "README.md", (ROOT / name / "config.yaml").read_text()
            text = card.read_text() if card.exists() else f"# {name.split('/')[1]}\n\n{plain(about)}\n"
            yield f"recipes/{name}.md", f"{name}/README.md", f"{text}\n## The recipe\n\n{fenced(config)}"


def fenced(config: str) -> str:
    """A config as code, between fences that it does not hold."""
    fence = "`" * max(3, 1 + max((len(each) for each in re.findall("`+", config)), default=0))
    return f"{fence}yaml\n{config}{fence}\n"


def pictures() -> Iterator[tuple[str, str, bytes]]:
    """(path in the site, path in the repository, content) of the pictures that cards show."""
    for kind in KINDS:
        for file in sorted(each for each in (ROOT / kind).glob("*/*") if each.suffix in (".png", ".svg")):
            source = str(file.relative_to(ROOT))
            yield f"recipes/{source}", source, file.read_bytes()


def table(kind: str, page: str) -> str:
    """Every recipe of a kind, with what its first line says."""
    rows = [
        f"| [{name.split('/')[1]}]({relative(f'recipes/{name}.md', page)}) | {plain(about)} |"
        for name, about in PRINTERS[kind](kind)
    ]
    return "\n".join(["| recipe | what it is |", "|---|---|", *rows, ""])
