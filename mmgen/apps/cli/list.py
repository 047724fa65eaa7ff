"""`mmgen list`: the recipes, and the parts that a recipe may name."""

from collections.abc import Iterator
from json import dumps
from typing import Literal

from mmgen.core.errors import UserError
from mmgen.core.terminal import print_safely
from mmgen.store.recipes import recipes_root

PARTS = ("masks", "paradigms", "backbones")


def run(
    what: Literal["recipes", "tokenizers", "experiments", "masks", "paradigms", "backbones"] = "recipes",
    json: bool = False,
) -> None:
    """Print names with a line on each.

    Args:
        what: recipes (tokenizers and experiments), or one kind of them, or of the parts that a recipe may name.
        json: print recipes as JSON: name, kind, modality, paradigm, mask, tokenizer, head, system, state of the card.
    """
    if json:
        _print_json(what)
        return
    kinds = ("tokenizers", "experiments") if what == "recipes" else (what,)
    for kind in kinds:
        lines = list(PRINTERS[kind](kind))
        width = max((len(name) for name, _ in lines), default=0)
        print_safely(f"{kind}:" if lines else f"{kind}: none in {recipes_root()}")
        for name, text in lines:
            print_safely(f"  {name:<{width}}  {text}")
    if what == "recipes":
        print_safely(f"More: mmgen list {' | '.join(PARTS)}. The recipes lie in {recipes_root()}")


def _print_json(what: str) -> None:
    from mmgen.evaluation.recipe_summary import summarise_recipes

    if what in PARTS:
        raise UserError(f"--json lists recipes, tokenizers or experiments, got {what!r}; leave --json out")
    kinds = ("tokenizer", "experiment") if what == "recipes" else (what.removesuffix("s"),)
    entries = [entry for entry in summarise_recipes() if entry["kind"] in kinds]
    print_safely(dumps(entries, indent=2, ensure_ascii=False))


def _recipes(kind: str) -> Iterator[tuple[str, str]]:
    for config in sorted((recipes_root() / kind).glob("*/config.yaml")):
        first = config.read_text().partition("\n")[0]
        comment = (
            first.lstrip("# ").removeprefix(f"{kind}/{config.parent.name}/config.yaml:")
            if first.startswith("#")
            else ""
        )
        yield f"{kind}/{config.parent.name}", comment.strip()


def _masks(_: str) -> Iterator[tuple[str, str]]:
    from mmgen.core.masks import CATALOGUE

    for name, mask in CATALOGUE.items():
        yield name, f"{mask.sentence} ({mask.source})"


def _paradigms(_: str) -> Iterator[tuple[str, str]]:
    import inspect

    import mmgen.paradigms as paradigms

    for name, paradigm in inspect.getmembers(paradigms, inspect.isclass):
        if issubclass(paradigm, paradigms.Paradigm) and not inspect.isabstract(paradigm):
            text = (paradigm.__doc__ or "").strip().splitlines()[0]
            own_mode = paradigm.modes is paradigms.Paradigm.modes  # a mixture has its members' modes
            yield name, f"{text} (--mode {paradigm.mode})" if own_mode else text


def _backbones(_: str) -> Iterator[tuple[str, str]]:
    from mmgen.model.backbone.transformer import PRESETS

    for name, size in PRESETS.items():
        yield name, f"Transformer with size: {name} has {size.depth} blocks of width {size.dim} and {size.heads} heads"


PRINTERS = {
    "tokenizers": _recipes,
    "experiments": _recipes,
    "masks": _masks,
    "paradigms": _paradigms,
    "backbones": _backbones,
}
