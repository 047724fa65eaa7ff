"""Reading archives of others: what a header claims takes no memory before the file is seen to hold it."""

import io
import os
from pathlib import Path


class BoundedReader(io.FileIO):
    """A file that gives at most so many bytes at once, for readers that ask for as many as a header tells them.

    Args:
        path: of the file.
        most: bytes. Whoever asks for more that are there, gets a ValueError.
    """

    def __init__(self, path: str | Path, most: int) -> None:
        super().__init__(path, "rb")
        self.length, self.most = os.fstat(self.fileno()).st_size, most

    def read(self, size: int | None = -1, /) -> bytes:
        rest = max(0, self.length - self.tell())
        wanted = rest if size is None or size < 0 else min(size, rest)
        if wanted > self.most:
            raise ValueError(f"a header of {wanted:,} bytes at byte {self.tell():,}; {self.most:,} are the most")
        return super().read(wanted) or b""
