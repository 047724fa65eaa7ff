"""Which folders are splits and classes."""

from dataclasses import dataclass
from pathlib import Path

from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.scan import Kind, files, folders, notice


@dataclass(frozen=True)
class Classes:
    """The classes of a folder; none where the files lie in no folders.

    Args:
        keys: the name of each class's folder, in order of the labels.
        names: what each class is called.
        kind: of files.
    """

    keys: list[str]
    names: list[str]
    kind: Kind

    def folders(self, root: Path) -> list[tuple[int, str]]:
        """(label, folder) of all files in one split's folder.

        Raises:
            UserError: it has class folders that are no classes, or files outside class folders alone.
        """
        if not self.keys:
            return [(NO_CLASS, "")]
        word = self.kind.word
        found = {folder.name for folder in folders(root) if next(files(folder, self.kind), None) is not None}
        unknown = sorted(found - set(self.keys))
        if unknown:
            raise UserError(f"{root / unknown[0]} is no class: the training {word}s have no folder of that name")
        if not found:
            raise UserError(
                f"{root} has no class folders with {word}s; sort its {word}s into the same folders as those to train on"
            )
        return [(label, key) for label, key in enumerate(self.keys) if key in found]


def split_folders(root: Path, kind: Kind) -> tuple[Path, Path | None]:
    """The folder to train on, and the one for validation if there is one.

    Raises:
        UserError: `root` is no folder, or cannot be read, or has files for validation only.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder: data.source.root must hold {kind.word}s, in train/CLASS and val/CLASS or in CLASS"
        )
    train, val = root / "train", root / "val"
    if not train.is_dir() and val.is_dir():
        raise UserError(f"{root} has a folder val but none named train; name the training {kind.word}s' folder train")
    return (train, val if val.is_dir() else None) if train.is_dir() else (root, None)


def find_classes(root: Path, names: Path | None, kind: Kind) -> Classes:
    """The class folders of the training files, sorted; those without any are left out, which is told.

    Args:
        root: the folder to train on.
        names: a text file with lines of a folder's name, a space, and the name to show.
        kind: of files.

    Raises:
        UserError: there are no such files at all, or the file of names cannot be read or names no class.
    """
    inner = folders(root)
    keys = [folder.name for folder in inner if next(files(folder, kind), None) is not None]
    loose = sum(1 for _ in files(root, kind, deep=False))
    if not keys and not loose:
        where = f"put them into one folder a class, or all into {root} without classes"
        raise UserError(f"{root} holds no {kind.word}s: {where}")
    if keys and loose:
        notice(f"{root}: {loose} {kind.word}(s) outside the class folders skipped")
    if len(keys) < len(inner):
        empty = [folder.name for folder in inner if folder.name not in keys]
        notice(f"{root}: {len(empty)} folder(s) without {kind.word}s are no class: {', '.join(empty[:5])}")
    shown = {} if names is None else _read_names(names)
    if names is not None and not shown.keys() & set(keys):
        raise UserError(f"{names} names no class folder of {root}: a line is a folder's name, a space, a name")
    return Classes(keys, [shown.get(key, key) for key in keys], kind)


def _read_names(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"data.source.names: {path} cannot be read ({' '.join(str(error).split())})") from None
    pairs = (line.split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
