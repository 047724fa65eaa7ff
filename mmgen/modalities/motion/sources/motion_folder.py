"""Folders of motions laid out as HumanML3D is: what is where, reading it, and looking through all of it once."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmgen.core.arrays import open_array
from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.core.text_file import read_lines
from mmgen.data.sources.scan import listed_files, notice, report_skipped
from mmgen.media.folders import write_whole
from mmgen.modalities.motion.features import joints_to_features
from mmgen.modalities.motion.files import Report, read_motion
from mmgen.modalities.motion.skeleton import HUMANML3D, KIT, Skeleton
from mmgen.modalities.motion.sources.motion_samples import mean_and_deviation
from mmgen.modalities.motion.units import features_in_metres

FEATURES, JOINTS, TEXTS = "new_joint_vecs", "new_joints", "texts"
_FORMAT = 2  # of a cached survey


class Caption(NamedTuple):
    """The text of a part of a motion, from `begin` to `end` in seconds; None for the motion's end."""

    text: str
    begin: float
    end: float | None


def motions_folder(root: Path) -> str:
    """The folder of the features, or else of the joints. Raises UserError where there are neither."""
    for name in (FEATURES, JOINTS):
        if (root / name).is_dir():
            return name
    raise UserError(f"{root} is not laid out as HumanML3D is: it needs a folder {FEATURES} or {JOINTS}")


def list_motions(root: Path, folder: str, split: str) -> list[str]:
    """The motions that `SPLIT.txt` names and that are there, in its order; missing ones are reported.

    Raises:
        UserError: the list cannot be read, or names none that is there.
    """
    path = root / f"{split}.txt"
    if not path.exists():
        raise UserError(f"{path} does not exist: it lists the motions of the split, a name a line")
    names = filter(None, map(str.strip, read_lines(path)))
    return listed_files(path, names, root / folder, "motion", ".npy")


def find_skeleton(paths: Iterable[Path]) -> Skeleton:
    """That of the first file that has a motion's shape. Raises UserError where there is none."""
    for path in paths:
        try:
            shape = open_array(path).shape
        except UserError:
            continue
        for skeleton in (HUMANML3D, KIT):
            if shape[1:] in ((skeleton.features,), (len(skeleton), 3)):
                return skeleton
    raise UserError(
        f"{path.parent} holds no motion: files are (frames, {HUMANML3D.features} or {KIT.features}) features or"
        f" (frames, {len(HUMANML3D)} or {len(KIT)}, 3) joints"
    )


def read_features(path: Path, skeleton: Skeleton, report: Report = lambda line: None) -> Tensor:
    """A file of features, or of joints, as features (T, D) float32 in metres; `report` takes a line where it was in
    another unit.

    Raises:
        UserError: it cannot be read, is of another skeleton, has no frame, or numbers that are none.
    """
    if path.parent.name == JOINTS:
        joints = read_motion(path, report=report)
        if joints.shape[1] != len(skeleton):
            raise UserError(f"{path} has {joints.shape[1]} joints, others here {len(skeleton)}")
        if len(joints) < 2:
            raise UserError(f"{path} has one frame, which does not move")
        return joints_to_features(joints)
    array = open_array(path)
    if array.shape[1:] != (skeleton.features,):
        raise UserError(f"{path} has shape {array.shape}, and motions here are (frames, {skeleton.features})")
    if not len(array):
        raise UserError(f"{path} has no frames")
    features = torch.from_numpy(array.astype(np.float32))
    if not features.isfinite().all():
        frame = int(features.isfinite().all(1).logical_not().nonzero()[0])
        raise UserError(f"{path} holds numbers that are not finite, first in frame {frame}")
    features, remark = features_in_metres(features)
    if remark:
        report(f"{path}: {remark}")
    return features


def read_captions(path: Path) -> list[Caption]:
    """The captions of a motion, from lines `caption#its words with their kinds#from#to`, in seconds; two zeros, or a
    caption alone, are of the whole motion.

    Raises:
        UserError: it cannot be read, holds no caption, or a part that is none.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist, so its motion has no caption")
    captions = []
    for number, line in enumerate(read_lines(path), 1):
        text, *more = line.split("#")
        if not text.strip():
            continue
        try:
            begin, end = (_seconds(each) for each in (more[1:3] if len(more) > 1 else ("0", "0")))
        except ValueError:
            raise UserError(f"{path}: line {number} is not caption#words#from#to, two times in seconds") from None
        if (end and end <= begin) or begin < 0:
            raise UserError(f"{path}: line {number} is of a part from {begin:g} to {end:g} s")
        captions.append(Caption(text.strip(), begin, end or None))
    if not captions:
        raise UserError(f"{path} holds no caption")
    return captions


def _seconds(text: str) -> float:
    """HumanML3D has `nan` where a part is not known."""
    value = float(text)
    return 0.0 if math.isnan(value) else value


@dataclass(frozen=True)
class Survey:
    """What a folder of motions holds.

    Args:
        frames: file -> its frames of features, where it can be used.
        skipped: file -> why it cannot.
        odd: file -> what its unit was taken for, where it is not metres.
        mean: (D,) of the features of the files to train on.
        std: (D,) likewise, averaged over groups.
    """

    frames: dict[str, int]
    skipped: dict[str, str]
    odd: dict[str, str]
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
    result = _read_survey(file, skeleton)
    if result is None:
        notice(
            f"{folder}: {len(paths):,} motions are looked through, a minute for every 10,000, once (kept in {cache})"
        )
        result = _look_through(paths, training, skeleton)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(asdict(result)).encode())
        except OSError as error:
            notice(f"{file} cannot be kept ({error.strerror or error}), so the folder is looked through each time")
    report_skipped(folder, result.skipped)
    if result.odd:
        first = next(iter(result.odd.values()))
        notice(f"{folder}: {len(result.odd):,} motion(s) are not in metres, or no person's, the first is {first}")
    return result


def _look_through(paths: Sequence[Path], training: int, skeleton: Skeleton) -> Survey:
    frames: dict[str, int] = {}
    skipped: dict[str, str] = {}
    odd: dict[str, str] = {}

    def read(path: Path) -> Tensor | UserError:
        try:
            return read_features(path, skeleton, lambda line: odd.update({path.stem: line}))
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
    return Survey(frames, skipped, dict(sorted(odd.items())), mean.tolist(), std.tolist())


def _read_survey(file: Path, skeleton: Skeleton) -> Survey | None:
    if not file.exists():
        return None
    try:
        result = Survey(**read_json(file))
        if [len(result.mean), len(result.std)] != [skeleton.features] * 2:
            raise ValueError("it is of another skeleton")
    except (UserError, ValueError, TypeError) as error:
        notice(f"{file} is damaged ({' '.join(str(error).split())}) and is made again")
        return None
    return result
