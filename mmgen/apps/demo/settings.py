"""What a demo does."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mmgen.core.progress import command_line
from mmgen.store.recipes import recipes_root

SEED = 0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every demo is told. A modality's defaults are its demo; tests make it small.

    Args:
        tokenizer: recipe.
        generator: recipe.
        tokenizer_options: of `mmgen fit`, as `--name=value`, behind the recipe.
        generator_options: the same.
        data_options: arguments of the generator recipe's data, whose samples become the tokens; None for the samples
            that the tokenizer was trained on.
        sampling: mode -> options of `mmgen sample` and `mmgen evaluate`; the default ones for a mode that is not named.
        samples: numbers of samples a mode that figures may be measured over, the best first.
        timed_steps: of the generator, before the time for all of them is planned; even.
        timed_samples: in each mode, for the same.
    """

    tokenizer: str
    generator: str
    tokenizer_options: tuple[str, ...] = ()
    generator_options: tuple[str, ...] = ()
    data_options: dict[str, Any] | None = None
    sampling: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: tuple[int, ...]
    timed_steps: int = 20
    timed_samples: int

    def record(self) -> dict[str, Any]:
        """What the stages that are kept depend on."""
        recipes = {name: (recipes_root() / name).read_text() for name in (self.tokenizer, self.generator)}
        options = [list(self.tokenizer_options), list(self.generator_options), self.data_options]
        return {"recipes": recipes, "options": options}


def repeating(name: str, run: Callable[..., Any], **given: Any) -> str:
    """The command line that calls `run` with these arguments, and the default ones beside them."""
    defaults = {parameter.name: parameter.default for parameter in inspect.signature(run).parameters.values()}
    return command_line(name, run, defaults | given)
