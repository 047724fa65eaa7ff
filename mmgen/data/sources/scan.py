"""Looking through folders: which files are there, and which of those are there that a list names."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.core.terminal import printable

_EXAMPLES = 3  # files that a line names
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # set by torchrun, Lightning and srun

logger = logging.getLogger("mmgen.data")


@dataclass(frozen=True)
class Kind:
    """What a folder holds: what one file is called, and how their names end, in lower case."""

    word: str
    suffixes: frozenset[str]


_IMAGE_SUFFIXES = (
    ".apng .avif .avifs .bmp .dib .gif .icb .j2c .j2k .jfi .jfif .jif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm"
    " .pgm .png .pnm .ppm .qoi .tga .tif .tiff .vda .vst .webp"
)
_VIDEO_SUFFIXES = (
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .m2ts .m2v .m4v .mjpeg .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogm"
    " .ogv .qt .ts .vob .webm .wmv .y4m"
)
_SOUND_SUFFIXES = (
    ".aif .aifc .aiff .au .bwf .caf .flac .mp2 .mp3 .mpga .nist .oga .ogg .opus .rf64 .snd .sph .voc .w64 .wav .wave"
)
IMAGES = Kind("image", frozenset(_IMAGE_SUFFIXES.split()))
VIDEOS = Kind("video", frozenset(_VIDEO_SUFFIXES.split()))
SOUNDS = Kind("sound", frozenset(_SOUND_SUFFIXES.split()))


def notice(text: str, every_rank: bool = False) -> None:
    """Logs a line on standard error: what was done with the data unasked. The first of several processes logs it for
    all, unless it is for `every_rank`.
    """
    rank = next((os.environ[name] for name in _RANKS if name in os.environ), "0")
    if every_rank or rank == "0":
        logger.warning(printable(text).replace("\n", " "))


def report_skipped(folder: Path, reasons: Mapping[str, object]) -> None:
    """Logs in one line how many files of a folder are skipped, if any, with some of their names and the first one's
    reason.
    """
    if reasons:
        names = ", ".join([*list(reasons)[:_EXAMPLES], *["..."] * (len(reasons) > _EXAMPLES)])
        reason = next(iter(reasons.values()))
        notice(f"{folder}: {len(reasons)} file(s) skipped: {names}, the first because {reason}")


def cache_folder() -> Path:
    """Where this user's caches are."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmgen"


def listed_files(path: Path, names: Iterable[str], folder: Path, word: str, suffix: str = "") -> list[str]:
    """Those of the `names` in the list `path` whose files are in `folder`, each once and in order; the list leaves out
    their `suffix`. Reports how many are missing. Raises UserError where all are.
    """
    listed = list(dict.fromkeys(names))
    present = [name for name in listed if (folder / f"{name}{suffix}").is_file()]
    if not present:
        raise UserError(f"{path} names no {word} that is in {folder}: a line is the path of a {word} in that folder")
    if len(present) < len(listed):
        missing = next(name for name in listed if name not in set(present))
        notice(f"{path}: {len(listed) - len(present)} {word}(s) are not in {folder}, the first is {missing}")
    return present


def require_apart(splits: Iterable[Iterable[str]], lists: str) -> None:
    """Raises UserError where a name is in both splits, which the two `lists` give."""
    train, val = map(set, splits)
    both = sorted(train & val)
    if both:
        raise UserError(f"{both[0]} is in both {lists}; take it out of one")
