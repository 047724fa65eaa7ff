"""The folder of a training run: its name, and the config that rebuilds it. Nothing in it is written over."""

import json
import shutil
import sys
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mmgen.core.errors import UserError
from mmgen.media.torch_file import Unsound
from mmgen.store.checkpoint_file import check_seal, find_checkpoint, read_checkpoint
from mmgen.store.store import CHECKPOINT, CONFIG


class RunFolder:
    """A run's folder.

    Args:
        path: config.yaml, checkpoints/, logs/ and samples/ lie in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False

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
        """The checkpoint that `--ckpt_path` names, `last` being the run's own, or where that is damaged the one before
        it, with a notice. UserError if it is missing or damaged.
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
            if named == "last":
                path = self.path / CHECKPOINT
                path, notice = find_checkpoint(path)
            if not path.exists():
                raise UserError(f"there is no checkpoint {path}; start the run without --ckpt_path")
            if named != "last":
                check_seal(path)
            if path.is_file():  # not a folder of parts, of which each process reads its own
                read_checkpoint(path, mmap=True)
        except (Unsound, OSError) as error:
            raise UserError(f"checkpoint {path} {error}; restore the file, or start a new run") from None
        if notice is not None and getattr(rank_zero_only, "rank", 0) == 0:
            print(notice, file=sys.stderr)
        return path

    def require_free(self) -> None:
        """Raises UserError if a run, or anything else, is there already."""
        if self.path.is_dir() and any(self.path.iterdir()):
            resume = " --ckpt_path last resumes it," if (self.path / CHECKPOINT).exists() else ""
            raise UserError(f"{self.path} exists and nothing is overwritten:{resume} --run PATH starts another")

    def open(self, config: str, command: str) -> None:
        """Make the folder and write the config, and the command behind those that trained the run before; an older
        config that says something else stays beside it.
        """
        file = self.path / CONFIG
        self._made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if file.exists() and file.read_text() != config:
                number = sum(1 for _ in self.path.glob("config-before-*.yaml")) + 1
                file.rename(self.path / f"config-before-{number}.yaml")
            file.write_text(config)
            record = self.path / "record.json"
            before = json.loads(record.read_text())["commands"] if record.exists() else []
            record.write_text(json.dumps({"commands": [*before, command]}, indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"run folder {self.path} cannot be written: {error.strerror}; name another with --run PATH"
            ) from None

    def abandon(self) -> None:
        """Remove what `open` made: the run ended before its first step, so that the same command may be given again."""
        if self._made:
            shutil.rmtree(self.path, ignore_errors=True)
