"""What the demos of all modalities do: from real data to tokens, from tokens to a generator, in a given time.

Every stage calls what its command calls, and the page says which command that is.
"""

from abc import abstractmethod
from collections.abc import Callable
from importlib.util import find_spec
from typing import ClassVar

from mmgen.apps.demo.budget import Plan
from mmgen.apps.demo.findings import Findings
from mmgen.apps.demo.line import Line
from mmgen.apps.demo.settings import Settings
from mmgen.apps.demo.stages import Stage
from mmgen.data.build import open_source
from mmgen.data.sources import Source
from mmgen.page.wording import listed
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import sample_options
from mmgen.store.store import Loaded, load_generator


class Demo(Line):
    """A demo's work, a method a stage.

    A modality says which stages it has, and fills in what is its own: `look`, `sampling_seconds` and `find`.
    """

    stages: ClassVar[list[Stage]]
    """All of them in order: those that `run` does by itself (`tokenizer`, `tokens`, `calibration`, `generator`), the
    modality's own, and `page`. Their seconds are those of two cores of our reference machine."""

    needs: ClassVar[dict[str, str]] = {}
    """Packages that it needs beside those that mmgen always brings -> the extra of mmgen that brings each."""

    settings_class: ClassVar[Callable[[], Settings]]
    """Makes the settings of the demo that a person asks for."""

    def run(self) -> Findings:
        """All stages but the last, which is to tell of them."""
        self._fit("tokenizer", self.settings.tokenizer, list(self.settings.tokenizer_options))
        data = self._data_of_tokens()
        source = open_source(str(self._path("tokenizer") if data is None else data))
        self.look(source)
        self._tokenize(data)
        planned = self._calibrate()
        self._fit("generator", self.settings.generator, self._generator_options(planned))
        return self.find(source, load_generator(self._path("generator")), planned)

    @classmethod
    def lacking(cls) -> str:
        """What of these is not installed, and how to mend that, in words; empty where nothing is missing."""
        absent = {package: extra for package, extra in cls.needs.items() if find_spec(package) is None}
        if not absent:
            return ""
        extras = ",".join(dict.fromkeys(absent.values()))
        return f"the demo needs the package {listed(list(absent))}: pip install 'mmgen[{extras}]'"

    @abstractmethod
    def look(self, source: Source) -> None:
        """The stages between the tokenizer's training and its use, such as measuring it."""

    @abstractmethod
    def find(self, source: Source, loaded: Loaded, planned: Plan) -> Findings:
        """The stages after the generator's training: samples, and what is measured of them.

        Args:
            source: of the real data.
            loaded: the generator.
            planned: how many samples there is time for.
        """

    def _options(self, mode: str) -> SampleOptions:
        return sample_options(self.settings.sampling.get(mode, {}))
