"""Checkpoint files: written whole or not at all, sealed with a hash, and read only if it still fits.

The seal is the comment of the zip archive that `torch.save` writes: the SHA-256 of all before it. So a checkpoint stays
one file that any reader of zip archives or of torch's files reads. Files without a seal are read too, after a look at
the checksums that a zip archive keeps of its parts.
"""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from mmgen.core.errors import UserError
from mmgen.media.torch_file import Unsound, check_contents, read_torch_file

_SEAL = re.compile(rb"mmgen sha256 ([0-9a-f]{64})")
_SEAL_BYTES = len(b"mmgen sha256 ") + 64
_END_BYTES = 22  # of the record that ends a zip archive, before the comment; the comment's length is the last of it
_CHUNK = 2**22


LAST, BEST = "last.ckpt", "best.ckpt"
"""Names of a run's two checkpoints: of its last step, and of its lowest held-out loss."""


def one_before(path: Path) -> Path:
    """Path of the previous checkpoint, which serves where the one at `path` is damaged."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


class _Writer:
    """A file for `torch.save` that hashes what is written. It keeps its first error, which torch would swallow."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        self.digest.update(data)
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: all is flushed at the end."""


def write_checkpoint(checkpoint: dict[str, Any], path: Path, trusted: bool = False, keep_previous: bool = True) -> None:
    """Write a checkpoint, and keep the previous one (`one_before`).

    At any moment `path` is a whole checkpoint, old or new, unless there was none; at most two are on the disk.

    Args:
        checkpoint: what `torch.save` takes.
        path: of the file; its folder is made.
        trusted: the file at `path` is known to be sound. Otherwise it is checked, so that a damaged one never replaces
            the previous one.
        keep_previous: keep the previous one.

    Raises:
        UserError: it could not be written; then the old one is unchanged.
    """
    partial, previous = path.with_name(f".{path.name}.partial"), one_before(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        keep_previous = keep_previous and path.exists() and (trusted or _is_sound(path))
        if keep_previous:
            previous.unlink(missing_ok=True)  # makes room
        _write(checkpoint, partial)
        if keep_previous:
            try:
                os.link(path, previous)
            except OSError:  # a disk without hard links
                path.replace(previous)
        partial.replace(path)
        _sync_folder(path.parent)
    except KeyboardInterrupt:
        partial.unlink(missing_ok=True)
        raise
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        advice = f"{path} is still the one before it: make room and go on with --ckpt_path last"
        if not path.exists():
            advice = "there was none before it: make room and start again"
        raise UserError(f"checkpoint {path} could not be written ({error.strerror or error}); {advice}") from None


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    """A sealed file, on the disk when this returns."""
    with open(path, "wb") as file:
        writer = _Writer(file)
        torch.save(checkpoint, writer)  # type: ignore[arg-type]  # it asks for no more than `write` and `flush`
        if writer.error is not None:
            raise writer.error
        seal = b"mmgen sha256 " + writer.digest.hexdigest().encode()
        file.seek(-2, os.SEEK_END)  # the length of the comment ends the archive
        file.write(len(seal).to_bytes(2, "little") + seal)
        file.flush()
        os.fsync(file.fileno())


def _is_sound(path: Path) -> bool:
    try:
        check_seal(path)
    except Unsound:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Write the names to the disk too, where a folder can be opened for that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def find_checkpoint(path: Path) -> tuple[Path, str | None]:
    """The checkpoint at a path, or if it is missing or damaged the sound one before it.

    Returns:
        The file, which may not exist; and a line that says why it is not `path`, or None.

    Raises:
        Unsound: it is damaged, and there is no sound one before it.
        OSError: it cannot be read.
    """
    previous = one_before(path)
    if not path.exists() and not previous.exists():
        return path, None
    try:
        if not path.exists():
            raise Unsound("is gone")
        check_seal(path)
    except Unsound as error:
        try:
            check_seal(previous)
            step = read_checkpoint(previous, mmap=True)["global_step"]
        except (OSError, Unsound, KeyError):
            raise error from None
        return previous, f"checkpoint {path} {error}; the one before it is taken: {previous}, of step {step}"
    return path, None


def best_record(path: Path) -> dict[str, Any] | None:
    """`step` and `loss` of the best checkpoint at a path; None where there is none that is sound."""
    try:
        check_seal(path)
        record = (read_checkpoint(path / "rest.pt") if path.is_dir() else read_checkpoint(path, mmap=True))["best"]
        return {"step": int(record["step"]), "loss": float(record["loss"])}
    except (Unsound, OSError, KeyError, TypeError, ValueError):
        return None


def steps_taken(path: Path) -> int:
    """Optimizer steps behind a checkpoint at a path whose seal has been checked. Raises UserError for other files."""
    try:
        state = read_checkpoint(path / "rest.pt") if path.is_dir() else read_checkpoint(path, mmap=True)
        return int(state["global_step"])
    except (Unsound, OSError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} does not say of which step it is: was it written by `mmgen fit`?") from None


def check_seal(path: Path) -> None:
    """Raises Unsound unless the file is whole, as far as that shows without unpickling; OSError if it is missing."""
    if path.is_dir():
        from mmgen.store.sharded_checkpoint import check_parts

        check_parts(path)
        return
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_BYTES - _SEAL_BYTES))
        tail = file.read()
        if _ends_archive(tail[-_END_BYTES:], 0):  # no seal
            check_contents(path)
            return
        seal = _SEAL.fullmatch(tail[-_SEAL_BYTES:])
        if seal is None or not _ends_archive(tail[:_END_BYTES], _SEAL_BYTES):
            raise Unsound("is truncated or corrupt (it does not end as a checkpoint does)")
        digest, rest = hashlib.sha256(), size - _SEAL_BYTES - 2
        file.seek(0)
        while rest and (data := file.read(min(_CHUNK, rest))):
            digest.update(data)
            rest -= len(data)
        digest.update(b"\0\0")  # the length of the comment, before there was one
        if digest.hexdigest().encode() != seal[1]:
            raise Unsound("is truncated or corrupt (its hash differs from the one it was written with)")


def _ends_archive(record: bytes, comment: int) -> bool:
    """Whether a zip archive with a comment of this length ends with this record."""
    return record.startswith(b"PK\x05\x06") and record[-2:] == comment.to_bytes(2, "little")


def read_checkpoint(path: Path, mmap: bool = False) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU. Nothing but tensors and plain values is unpickled.

    Args:
        path: of a file whose seal has been checked.
        mmap: leave tensors on the disk until they are used.

    Raises:
        Unsound: it is damaged, or holds more than that.
    """
    if path.is_dir():  # in parts, by several processes
        from mmgen.store.sharded_checkpoint import read_parts  # torch.distributed is slow to import

        return read_parts(path)
    return read_torch_file(path, mmap)
