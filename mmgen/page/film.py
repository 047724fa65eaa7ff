"""Films on a page: all frames in one picture, shown in turn by CSS or by the script, on the clock of their row."""

from dataclasses import dataclass

from mmgen.page.page import Picture


@dataclass(frozen=True)
class Clock:
    """What all films of a row go by.

    Args:
        unit: what it counts, such as `pass` or `frame`.
        first: where it begins.
        last: where it ends, later than `first`.
        tick: seconds.
        rest: seconds at the end, before it begins again.
        means: the same as `unit`, for readers who cannot see it.
    """

    unit: str
    first: int
    last: int
    tick: float
    rest: float
    means: str

    @property
    def seconds(self) -> float:
        """Of one round."""
        return (self.last - self.first) * self.tick + self.rest


@dataclass(frozen=True)
class Film:
    """One film.

    Args:
        strip: its frames under each other.
        at: the reading of the clock at which each of them appears; ascending.
        captions: what stands below each of them.
        total: the caption of the whole.
    """

    strip: Picture
    at: list[int]
    captions: list[str]
    total: str

    @property
    def height(self) -> int:
        """Of a frame, in pixels of the strip."""
        return self.strip.height // len(self.at)

    @property
    def end(self) -> float:
        """How far the strip moves up until its last frame is seen, in percent of its height; negative."""
        return round(-100 * (len(self.at) - 1) / len(self.at), 4)

    def share(self, clock: Clock) -> float:
        """Percent of a round of the clock after which the last frame stands."""
        return round(100 * (self.at[-1] - clock.first) * clock.tick / clock.seconds, 2)
