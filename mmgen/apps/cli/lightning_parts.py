"""Lightning's own callbacks, loggers and profilers in a recipe: they work, or one line says why not."""

import re
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from mmgen.training.progress import progress
from mmgen.training.resume import check_callbacks


def named_callbacks(named: Callback | Sequence[Callback] | None, shows_progress: bool | None) -> list[Callback]:
    """The callbacks that a recipe names, and a display of the progress unless one of them is one. Raises UserError for
    those that a run cannot have.
    """
    callbacks = [named] if isinstance(named, Callback) else list(named or [])
    check_callbacks(callbacks)
    if shows_progress is not False and not any(isinstance(each, ProgressBar) for each in callbacks):
        callbacks.append(progress())
    return callbacks


def named_loggers(named: Any, command: str, run: Path) -> Any:
    """The loggers that a recipe names; else a training has those of its run folder, and a measurement none."""
    if named is not None and named is not True:
        return named
    if command != "fit":
        return False
    return [
        CSVLogger(run / "logs", name="csv"),
        TensorBoardLogger(run / "logs", name="", version="tensorboard", default_hp_metric=False),
    ]


def log_settings(loggers: Sequence[Logger], settings: dict[str, Any]) -> None:
    """Give the whole recipe to the loggers, as the hyperparameters of the run."""
    for logger in loggers:
        logger.log_hyperparams(settings)


def reason_of(error: BaseException) -> str | None:
    """What a part of Lightning could not do, in a line; None for an error that comes from elsewhere."""
    if (package := _missing_package(error)) is not None:
        return f"a part that the recipe names needs the package {package}: pip install {package}"
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    if not re.search(r"/(lightning|pytorch_lightning|lightning_fabric)/", last):
        return None
    return f"{Path(last).stem} of Lightning cannot go on ({type(error).__name__}): {' '.join(str(error).split())}"


def _missing_package(error: BaseException | None) -> str | None:
    """The package without which a part cannot be made, as a chain of errors says."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            named = re.search(r"'([A-Za-z][\w.-]*)", str(error))
            return error.name or (None if named is None else named[1])
        error = error.__cause__ or error.__context__
    return None
