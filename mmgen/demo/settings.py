"""What the demo of images does."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmgen.cli.progress import command_line
from mmgen.recipes import recipes_root

SEED = 0


@dataclass(frozen=True)
class Settings:
    """The defaults are the demo; tests make it small.

    Args:
        tokenizer: recipe.
        generator: recipe.
        tokenizer_options: of `mmgen fit`, as `--name=value`, behind the recipe.
        generator_options: the same.
        sampling: mode -> options of `mmgen sample` and `mmgen evaluate`; the default ones for a mode that is not named.
        rows: of the grid of samples; a column is a class.
        timed_steps: of the generator, before the time for all of them is planned; even.
        timed_samples: in each mode, for the same.
        completed: class of a held-out digit that is completed -> whether the model is told it.
        keep: what of it stays, as `mmgen sample --keep_region` takes it: rows from the top.
        completions: of each, in each mode.
    """

    tokenizer: str = "tokenizers/digits_bsq/config.yaml"
    generator: str = "experiments/digits_mixture/config.yaml"
    tokenizer_options: tuple[str, ...] = ()
    generator_options: tuple[str, ...] = ()
    sampling: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"ar": {"cfg": 2.0}, "masked": {"cfg": 2.0}, "block": {"cfg": 2.0}}
    )
    rows: int = 8
    timed_steps: int = 20
    timed_samples: int = 50
    completed: dict[str, bool] = field(default_factory=lambda: {"3": True, "8": True, "9": False})
    keep: str = "0:4"
    completions: int = 4

    def record(self) -> dict[str, Any]:
        """What the stages that are kept depend on."""
        recipes = {name: (recipes_root() / name).read_text() for name in (self.tokenizer, self.generator)}
        return {"recipes": recipes, "options": [list(self.tokenizer_options), list(self.generator_options)]}


def repeating(name: str, run: Callable[..., Any], **given: Any) -> str:
    """The command line that calls `run` with these arguments, and the default ones beside them."""
    defaults = {parameter.name: parameter.default for parameter in inspect.signature(run).parameters.values()}
    return command_line(name, run, defaults | given)
