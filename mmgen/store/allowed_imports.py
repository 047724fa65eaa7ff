"""Where the classes that a config names may come from.

A config from elsewhere is data: it may choose among these packages, and nothing else is imported, so that it cannot run
code. Only the person who starts the command can allow more, by the environment or by registering a modality.
"""

import os

from jsonargparse import set_parsing_settings

from mmgen.core.errors import UserError
from mmgen.core.modality import modality_packages

VARIABLE = "MMGEN_ALLOW"
"""Environment variable: further packages or modules, separated by commas."""

_OWN = ("mmgen",)
_TRAINING = (
    "torch.optim",
    *(f"lightning.pytorch.{name}" for name in ("callbacks", "loggers", "plugins", "profilers", "strategies")),
)


def allowed_in_models() -> tuple[str, ...]:
    """Packages whose classes a run or an export may name. Raises UserError for a malformed name in the environment."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    for name in named:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserError(f"{VARIABLE} names {name!r}, which is no package: give my_package or my.module,other")
    return (*_OWN, *(each for each in modality_packages() if each.partition(".")[0] not in _OWN), *named)


def allowed_in_recipes() -> tuple[str, ...]:
    """Packages whose classes a recipe may name, when a run is trained."""
    return (*allowed_in_models(), *_TRAINING)


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted name lies in one of the packages."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def restrict_imports() -> None:
    """Make the parser of configs refuse all else before it imports anything, for the rest of the process."""
    set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=list(allowed_in_recipes()))
