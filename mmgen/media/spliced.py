"""A file of which some bytes are replaced, without a copy of it."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


class SplicedFile:
    """Pieces of memory, such as stretches of a file's memory map, read as one file, as libsndfile wants it."""

    def __init__(self, pieces: Sequence[memoryview]) -> None:
        self._pieces = [piece for piece in pieces if len(piece)]
        self._begins = [0, *accumulate(map(len, self._pieces))]
        self._at = 0
        self.farthest = 0
        """The number after the last byte that was read."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte and return its number."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._begins[-1]}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The number of the next byte."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as there are bytes, and return their count."""
        filled = 0
        while filled < len(buffer) and self._at < self._begins[-1]:
            number = bisect_right(self._begins, self._at) - 1
            start = self._at - self._begins[number]
            part = self._pieces[number][start : start + len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._at += len(part)
        self.farthest = max(self.farthest, self._at)
        return filled
