"""Pictures, sounds and clips for loggers other than TensorBoard's: by each one's own call for files."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger

_METHODS = {".png": "log_image", ".gif": "log_video", ".wav": "log_audio"}
_reported: set[str] = set()

log = logging.getLogger("mmgen.training.media_log")


def log_files(logger: Logger, name: str, files: Sequence[Path], step: int) -> None:
    """Hand files over: PNG, GIF, WAV.

    Weights & Biases has `log_image`, `log_video` and `log_audio` in Lightning's logger, Comet in its experiment; MLflow
    takes files as artifacts of the run. A logger that has none of these is named once; a CSV log is expected to have
    none.

    Args:
        logger: of the trainer; of TensorBoard nothing is left to do here.
        name: what the files show, such as a mode.
        files: in the run's `samples/`.
        step: optimizer steps taken.
    """
    experiment: Any = logger.experiment
    if hasattr(experiment, "add_image") or isinstance(logger, CSVLogger):
        return
    for file in files:
        call = _call(logger, experiment, name, file, step)
        if call is not None:
            call()
        elif (kind := type(logger).__name__) not in _reported:
            _reported.add(kind)
            log.warning("%s takes no pictures or sounds: samples of this run are in %s only", kind, file.parent)


def _call(logger: Any, experiment: Any, name: str, file: Path, step: int) -> Callable[[], Any] | None:
    method, key = _METHODS[file.suffix], f"samples/{name}"
    if hasattr(logger, method):
        return lambda: getattr(logger, method)(key, [str(file)], step=step)
    if hasattr(experiment, "log_artifact") and hasattr(logger, "run_id"):
        return lambda: experiment.log_artifact(logger.run_id, str(file), key)
    if hasattr(experiment, method):
        return lambda: getattr(experiment, method)(str(file), step=step)
    return None
