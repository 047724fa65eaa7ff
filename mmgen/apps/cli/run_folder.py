"""The folder of a training run: its name, and the config that rebuilds it. Nothing in it is written over."""

import json
import shutil
import sys
from fnmatch import fnmatch
from itertools import count
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mmgen.apps.cli.folder_lock import FolderLock, lock_folder, require_unlocked
from mmgen.core.errors import UserError
from mmgen.core.terminal import print_safely
from mmgen.media.folders import write_whole
from mmgen.media.torch_file import Unsound
from mmgen.store.checkpoint_file import BEST, check_seal, find_checkpoint, read_checkpoint
from mmgen.store.store import CHECKPOINT, CONFIG

_WITHOUT = "start the run without --ckpt_path"


class RunFolder:
    """A run's folder.

    Args:
        path: config.yaml, checkpoints/, logs/ and samples/ lie in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False
        self._lock: FolderLock | None = None

    @classmethod
    def of(cls, named: str | None, recipes: list[Path]) -> "RunFolder":
        """The folder that was named; else that of the run whose config is given; else runs/ and the recipe's name."""
        if named is not None:
            return cls(Path(named))
        if not recipes:
            raise UserError("no recipe and no run folder: give --config RECIPE, or --run PATH")
        first = recipes[0]
        if (first.parent / CHECKPOINT).exists():
            return cls(first.parent)
        return cls(Path("runs") / (first.absolute().parent.name if first.name == CONFIG else first.stem))

    def checkpoint(self, named: str | None) -> Path | None:
        """The checkpoint that `--ckpt_path` names: `last` or `best` of this run, a file, or a run folder for its last.
        A last one that is damaged gives way to the one before it, with a notice. UserError if it is missing or damaged.
        """
        if named is None:
            return None
        path, notice = Path(named), None
        if path.suffix == ".safetensors":
            raise UserError(
                f"--ckpt_path {path} is an export's weights, without an optimizer to go on with: give a run's"
                f" checkpoint, RUN/checkpoints/last.ckpt, or train the recipe anew: --config {path.parent / CONFIG}"
            )
        try:
            if named == "best":
                path = self.path / "checkpoints" / BEST
            if named == "last" or (path / CONFIG).is_file():
                path, notice = find_checkpoint((self.path if named == "last" else path) / CHECKPOINT)
            elif path.exists():
                check_seal(path)
            if not path.exists():
                hint = "name RUN/checkpoints/best.ckpt of another run, or `last`" if named == "best" else _WITHOUT
                raise UserError(f"there is no checkpoint {path}; {hint}")
            if path.is_file():  # not a folder of parts, of which each process reads its own
                read_checkpoint(path, mmap=True)
        except (Unsound, OSError) as error:
            raise UserError(f"checkpoint {path} {error}; restore the file, or start a new run") from None
        if notice is not None and getattr(rank_zero_only, "rank", 0) == 0:
            print_safely(notice, file=sys.stderr)
        return path

    def require_free(self) -> None:
        """Raises UserError if a run with a checkpoint, or anything else, is there already, or another process writes
        there.
        """
        require_unlocked(self.path)
        self._require_no_run()

    def _require_no_run(self) -> None:
        if not self.path.is_dir():
            return
        if _has_checkpoint(self.path):
            raise UserError(
                f"{self.path} exists and nothing is overwritten: --ckpt_path last resumes it, --run PATH starts another"
            )
        if not _is_run(self.path):
            raise UserError(f"{self.path} exists and nothing is overwritten: --run PATH starts another")

    def claim(self, resume: bool) -> None:
        """Make the folder, and keep other processes from training in it. Raises UserError where one does already, the
        folder cannot be written, or, unless the run is resumed, there is one already.
        """
        made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.path)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            if not resume:
                self._require_no_run()
        except UserError:
            self.release(started=True)
            raise
        self._made = made
        if not resume and (self.path / CONFIG).exists():
            print_safely(f"{self.path} was left before its first checkpoint: it starts anew", file=sys.stderr)

    def write(self, config: str, command: str, resume: bool) -> None:
        """Write the config, and the command, behind those that trained the run before; an older config that says
        something else stays beside it. At any moment there is a whole one.
        """
        file, record = self.path / CONFIG, self.path / "record.json"
        try:
            if file.exists() and file.read_text() != config:
                names = (self.path / f"config-before-{number}.yaml" for number in count(1))
                write_whole(next(name for name in names if not name.exists()), file.read_bytes())
            write_whole(file, config.encode(), sync=True)
            before = json.loads(record.read_text())["commands"] if resume and record.exists() else []
            write_whole(record, (json.dumps({"commands": [*before, command]}, indent=2) + "\n").encode())
        except OSError as error:
            raise self._unwritable(error) from None

    def release(self, started: bool) -> None:
        """Let others train here. Where the run ended before its first step, what `claim` made is removed, so that the
        same command may be given again; a folder with a checkpoint never is.
        """
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._made and not started and not _has_checkpoint(self.path):
            shutil.rmtree(self.path, ignore_errors=True)

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"run folder {self.path} cannot be written: {error.strerror}; name another with --run PATH")


def _has_checkpoint(run: Path) -> bool:
    """Whether a run has any checkpoint, whole or damaged."""
    return any(not each.name.startswith(".") for each in (run / "checkpoints").glob("*"))


def _is_run(path: Path) -> bool:
    """Whether a folder holds nothing but what a run writes."""
    own = ("config*.yaml", "record.json", "checkpoints", "logs", "samples", "skipped", ".*")
    return all(any(fnmatch(each.name, pattern) for pattern in own) for each in path.iterdir())
