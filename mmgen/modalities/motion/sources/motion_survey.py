"""Looking through a folder of motions once: which of them can be used, and the mean and deviation of their features."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.data.sources.scan import notice, report_skipped
from mmgen.media.folders import write_whole
from mmgen.modalities.motion.skeleton import Skeleton
from mmgen.modalities.motion.sources.motion_folder import read_features
from mmgen.modalities.motion.sources.motion_samples import mean_and_deviation

_FORMAT = 1  # of the cached file


@dataclass(frozen=True)
class Survey:
    """What a folder of motions holds.

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
    """Reads all motions, the first `training` of which are trained on; or the cached survey, unless a file has another
    size or time.

    Raises:
        UserError: none of the motions to train on can be used.
    """
    folder = paths[0].parent
    files = [(path.name, status.st_size, status.st_mtime_ns) for path in paths for status in (path.stat(),)]
    key = json.dumps([_FORMAT, str(folder.resolve()), training, files])
    file = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    result = _read(file, skeleton)
    if result is None:
        notice(
            f"{folder}: {len(paths):,} motions are looked through, a minute for every 10,000, once (kept in {cache})"
        )
        result = _look(paths, training, skeleton)
        try:
            write_whole(file, json.dumps(asdict(result)).encode())
        except OSError as error:
            notice(f"{file} cannot be kept ({error.strerror or error}), so the folder is looked through each time")
    report_skipped(folder, result.skipped)
    return result


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
            mean, std = mean_and_deviation(usable(paths[:training]))
        except ValueError:
            reason = next(iter(skipped.values()))
            raise UserError(f"{paths[0].parent}: no motion can be trained on, the first because {reason}") from None
        for _ in usable(paths[training:]):
            pass
    return Survey(frames, skipped, mean.tolist(), std.tolist())


def _read(file: Path, skeleton: Skeleton) -> Survey | None:
    if not file.exists():
        return None
    try:
        result = Survey(**json.loads(file.read_text(encoding="utf-8")))
        if [len(result.mean), len(result.std)] != [skeleton.features] * 2:
            raise ValueError("it is of another skeleton")
    except (OSError, ValueError, TypeError) as error:
        notice(f"{file} is damaged ({' '.join(str(error).split())}) and is made again")
        return None
    return result
