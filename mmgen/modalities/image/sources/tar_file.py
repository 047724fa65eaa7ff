"""Where the files of a .tar archive lie: links are followed, joined archives read to the end, and the rest counted."""

import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmgen.core.bounded_reader import BoundedReader
from mmgen.core.errors import UserError
from mmgen.data.sources.folder_layout import readable_name
from mmgen.data.sources.search import LeftAside

_BLOCK = tarfile.BLOCKSIZE
_HEADER = (
    2**15
)  # bytes of the longest header, the names and attributes of one file; tarfile searches it in squared time
_PADDING = 2**26  # bytes of zeros that may follow an archive
_HOPS = 40  # links that lead from one to the next, as Linux follows them
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

# What `tarfile` raises on headers that are none is that wide.
_DAMAGED = (tarfile.TarError, OSError, ValueError, EOFError, ArithmeticError, LookupError, RecursionError)


class TarMember(NamedTuple):
    """A file in an archive.

    Attributes:
        name: its path, normalised, with escapes for what cannot be written in a line.
        offset: its first byte in the archive's file.
        size: in bytes.
        part: which archive of the file it is in, from 0; there are several where archives were joined.
    """

    name: str
    offset: int
    size: int
    part: int


class _Link(NamedTuple):
    name: str
    target: str


def list_tar(path: Path, aside: LeftAside) -> list[TarMember]:
    """The files of an archive in order, without those whose names begin with a dot. A link within it is the file that
    it leads to; archives that were joined (`cat a.tar b.tar`) are read one after the other. What else is in it is
    counted in `aside`.

    Raises:
        UserError: the file cannot be read, is compressed, cut off or damaged.
    """
    members: list[TarMember] = []
    try:
        with BoundedReader(path, _HEADER) as file:
            start: int | None = 0
            part = 0
            while start is not None:
                found, end = _read_archive(file, start, part, path.name, aside)
                members += found
                start, part = None if end is None else _next_archive(file, end), part + 1
    except _DAMAGED as error:
        packed = next((name for magic, name in _PACKED.items() if _starts_with(path, magic)), None)
        reason = f"it is packed by {packed}: unpack it" if packed else " ".join(str(error).split())
        raise UserError(f"shard {path} is truncated or damaged ({reason})") from None
    return members


def _read_archive(
    file: BoundedReader, start: int, part: int, archive: str, aside: LeftAside
) -> tuple[list[TarMember], int | None]:
    """The files of the archive that begins at `start`, and the byte behind its last file; None where no archive begins
    there.
    """
    file.seek(start)
    entries: list[TarMember | _Link] = []
    table: dict[str, TarMember | _Link] = {}
    last = start - 1
    with tarfile.TarFile(fileobj=file) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # which would keep all of them
            if info.size < 0 or info.offset <= last:
                raise tarfile.ReadError(f"{info.name}: its size leads backwards")
            last, name = info.offset, readable_name(posixpath.normpath(info.name))
            entry: TarMember | _Link
            if info.isreg() and not info.issparse():
                entry = TarMember(name, info.offset_data, info.size, part)
            elif info.islnk():  # to what stands before it
                target = readable_name(posixpath.normpath(info.linkname))
                there = table.get(target)
                entry = there._replace(name=name) if isinstance(there, TarMember) else _Link(name, target)
            elif info.issym():
                target = posixpath.join(posixpath.dirname(info.name), info.linkname)
                entry = _Link(name, readable_name(posixpath.normpath(target)))
            else:
                if not info.isdir():
                    why = "file(s) stored with holes" if info.isreg() else "pipe(s) or device(s)"
                    aside.add(why, f"{name} in {archive}")
                continue
            table[name] = entry
            if not posixpath.basename(name).startswith("."):
                entries.append(entry)
            else:
                aside.add("hidden file(s)", f"{name} in {archive}")
        end = tar.offset
    if start and last < start:
        aside.add("shard(s) that go on behind their end with something else", archive)
        return [], None
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("it does not end as a tar does")
    return list(_follow(entries, table, archive, aside)), end


def _follow(
    entries: list[TarMember | _Link], table: dict[str, TarMember | _Link], archive: str, aside: LeftAside
) -> Iterator[TarMember]:
    """The files that entries are or lead to."""
    for entry in entries:
        there: TarMember | _Link | None = entry
        for _ in range(_HOPS):
            if not isinstance(there, _Link):
                break
            there = table.get(there.target)
        if isinstance(there, TarMember):
            yield there._replace(name=entry.name)
        else:
            target = entry.target if isinstance(entry, _Link) else ""
            aside.add("link(s) to what the shard does not hold", f"{entry.name} in {archive}, to {target}")


def _next_archive(file: BoundedReader, end: int) -> int | None:
    """Where the next archive begins behind the zeros that end one; None where nothing follows."""
    file.seek(end)
    for start in range(end, end + _PADDING, _HEADER):
        zeros = file.read(_HEADER)
        if zeros.count(0) < len(zeros):
            return start + (len(zeros) - len(zeros.lstrip(b"\0"))) // _BLOCK * _BLOCK
        if len(zeros) < _HEADER:
            return None
    raise tarfile.ReadError(f"more than {_PADDING >> 20} MiB of zeros follow byte {end:,}")


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
