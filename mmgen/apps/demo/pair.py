"""Demos that go the way twice: to discrete tokens and a generator of these, and to continuous ones and theirs."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmgen.apps.demo.budget import ROUND, Measured, Plan
from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.findings import Findings
from mmgen.apps.demo.line import Line
from mmgen.apps.demo.settings import Settings
from mmgen.data.sources import Source
from mmgen.store.store import load_generator

SECOND = "second_"
"""Before the names of stages and folders of the second tokenizer and its generator."""


@dataclass(frozen=True, kw_only=True)
class PairSettings(Settings):
    """What such a demo is told.

    Args:
        second: the tokenizer and the generator of continuous tokens; None for none. Its `samples` say nothing.
    """

    second: Settings | None = None

    def record(self) -> dict[str, Any]:
        second = {} if self.second is None else {"second": self.second.record()}
        return super().record() | second


class PairDemo(Demo):
    """Trains both tokenizers, then both generators, which share the time in proportion to what their recipes want.

    Attributes:
        second: the second way; None where there is none. A demo sets it when it is made.
    """

    settings: PairSettings
    second: Line | None

    @property
    def lines(self) -> Sequence[Line]:
        """All of them, the first one first."""
        return [self] if self.second is None else [self, self.second]

    @abstractmethod
    def whole(self) -> Source:
        """The real samples, of which the tokens are made."""

    def run(self) -> Findings:
        for line in self.lines:
            line._fit("tokenizer", line.settings.tokenizer, list(line.settings.tokenizer_options))
        source = self.whole()
        self.look(source)
        for line in self.lines:
            line._tokenize(line._data_of_tokens())
        planned = self._calibrate()
        self._fit("generator", self.settings.generator, self._generator_options(planned))
        if self.second is not None:
            options = self.second._generator_options(self._of_second(planned))
            self.second._fit("generator", self.second.settings.generator, options)
        return self.find(source, load_generator(self._path("generator")), planned)

    def _timed(self) -> Measured:
        """A step of the first generator and as many of the second as it has for each of the first's."""
        if self.second is None:
            return self._time()
        first, second = self._time(), self.second._time()
        share = self.second._wanted() / self._wanted()
        return Measured(
            first.step + share * second.step,
            first.fit + second.fit,
            first.sample + second.sample,
            first.always + second.always,
        )

    def _expect(self, planned: Plan) -> None:
        steps = [planned.steps, 0 if self.second is None else self._of_second(planned).steps]
        for line, count in zip(self.lines, steps):
            self.walk.expect(line.key("generator"), planned.training * count / sum(steps))
        self.walk.expect("samples", planned.sampling)

    def _of_second(self, planned: Plan) -> Plan:
        """The steps of the second generator, in proportion."""
        assert self.second is not None
        wanted = self.second._wanted()
        steps = max(ROUND, round(planned.steps / self._wanted() * wanted / ROUND) * ROUND)
        return Plan(min(wanted, steps), planned.samples, planned.training, planned.sampling)
