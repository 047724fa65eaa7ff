"""Looking through a folder of motions once: which of them can be used, and the mean and deviation of their features."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import notice
from mmgen.modalities.motion.skeleton import Skeleton
from mmgen.modalities.motion.sources.motion_folder import read_features
from mmgen.modalities.motion.sources.motion_samples import mean_and_deviation

_FORMAT = 1  # of what is kept
_NAMED = 3  # files that a notice names


@dataclass(frozen=True)
class Survey:
    """What looking through a folder has found.

    Args:
        frames: file -> its frames of features, where it can be used.
        skipped: file -> why it cannot.
        mean: (D,) of the features of the files to train on.
        std: (D,) likewise, averaged over groups.
    """

    frames: dict[str, int]
    skipped: dict[str, str]
    mean: list[float]
    std: list[float]

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (D,) float32 each."""
        return torch.tensor(self.mean), torch.tensor(self.std)


def survey(paths: Sequence[Path], training: int, skeleton: Skeleton, cache: Path) -> Survey:
    """Reads all motions once, the first so many of which are trained on, or what is kept of having done so. It is done
    again if a file has another size or time.

    Raises:
        UserError: none of the motions to train on can be used.
    """
    files = [(path.name, status.st_size, status.st_mtime_ns) for path in paths for status in (path.stat(),)]
    key = [_FORMAT, str(paths[0].parent.resolve()), training, files]
    place = cache / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
    found = _kept(place, skeleton)
    if found is None:
        notice(
            f"{paths[0].parent}: {len(paths):,} motions are looked through, a minute for every 10,000, once (kept in"
            f" {cache})"
        )
        found = _look(paths, training, skeleton)
        _keep(place, found)
    tell_skipped(paths[0].parent, found.skipped)
    return found


def tell_skipped(place: Path, skipped: Mapping[str, str]) -> None:
    """Tells in one line which files, by name, are skipped, if any, and why the first is."""
    if skipped:
        names, more = ", ".join(list(skipped)[:_NAMED]), ", ..." if len(skipped) > _NAMED else ""
        reason = next(iter(skipped.values()))
        notice(f"{place}: {len(skipped)} file(s) skipped: {names}{more}, the first because {reason}")


def _look(paths: Sequence[Path], training: int, skeleton: Skeleton) -> Survey:
    frames: dict[str, int] = {}
    skipped: dict[str, str] = {}

    def read(path: Path) -> Tensor | UserError:
        try:
            return read_features(path, skeleton)
        except UserError as error:
            return error

    def usable(some: Sequence[Path]) -> Iterable[Tensor]:
        for start in range(0, len(some), 256):  # so that few are in memory at once
            part = some[start : start + 256]
            for path, motion in zip(part, pool.map(read, part)):
                if isinstance(motion, UserError):
                    skipped[path.stem] = str(motion)
                else:
                    frames[path.stem] = len(motion)
                    yield motion

    with ThreadPoolExecutor(4) as pool:  # reading waits for the disk
        try:
            measured = mean_and_deviation(usable(paths[:training]))
        except ValueError:
            reason = next(iter(skipped.values()))
            raise UserError(f"{paths[0].parent}: no motion can be trained on, the first because {reason}") from None
        for _ in usable(paths[training:]):
            pass
    mean, std = (each.tolist() for each in measured)
    return Survey(frames, skipped, mean, std)


def _kept(place: Path, skeleton: Skeleton) -> Survey | None:
    if not place.exists():
        return None
    try:
        found = Survey(**json.loads(place.read_text(encoding="utf-8")))
        if [len(found.mean), len(found.std)] != [skeleton.features] * 2:
            raise ValueError("it is of another skeleton")
    except (OSError, ValueError, TypeError) as error:
        notice(f"{place} is damaged ({' '.join(str(error).split())}) and is made again")
        return None
    return found


def _keep(place: Path, found: Survey) -> None:
    """Whole or not at all. Where that is impossible, it is told, and the folder will be looked through again."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=place.parent, suffix=".part", delete=False, encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)))
        os.replace(file.name, place)
    except OSError as error:
        notice(f"{place} cannot be kept ({error.strerror or error}), so the folder is looked through each time")
