"""What `mmgen sample` does for every modality: read the options, draw, and write files and the record of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.core.text_file import read_lines
from mmgen.data.held_out import names_of
from mmgen.paradigms import SampleOptions
from mmgen.sampling.options import sample_options
from mmgen.sampling.samples import (
    Samples,
    SamplingTask,
    check_count,
    class_labels,
    pick_mode,
    require_tokenizer,
    text_condition,
    text_values,
)
from mmgen.store.store import Loaded


class SamplingCommand(ABC):
    """One call of `mmgen sample` on a run, checked when it is made, before anything is sampled or written: `task` is
    what is drawn, `samples` what came out, after `draw`. Raises UserError where something that is asked for cannot be
    done.
    """

    modality: ClassVar[str]
    batch: ClassVar[int] = 16
    digits: ClassVar[int] = 1
    """At least so many in the number of a file."""

    task: SamplingTask
    samples: Samples

    def __init__(self, loaded: Loaded, arguments: dict[str, Any]) -> None:
        self.loaded, self.arguments = loaded, arguments
        self.tokenizer = require_tokenizer(loaded, self.modality)
        self.options: SampleOptions = sample_options(arguments)
        pick_mode(loaded, arguments["mode"])
        named = arguments.get("class_")
        self.classes = [name.strip() for name in named.split(",")] if named else []

    def make_task(
        self, count: int, texts: Sequence[str] | None = None, labels: Tensor | None = None, **more: Any
    ) -> SamplingTask:
        """The task of so many samples, with a text for each, of the classes that are named, or else of `labels` (B,)
        int64, or all classes in turn; `more` are further arguments of `SamplingTask`, in which `conditions` are added
        to these.
        """
        batch = self.batch if self.arguments["batch"] is None else self.arguments["batch"]
        check_count(count, batch)
        if labels is None or self.classes:
            labels = class_labels(self.classes, count, self.loaded)
        self.labels = labels
        conditions = {"class": self.labels, **more.pop("conditions", {})}
        if texts is not None:
            conditions |= text_values(self.loaded, texts)
        return SamplingTask(
            self.loaded, self.arguments["mode"], conditions, self.options, self.arguments["seed"], batch=batch, **more
        )

    def texts_in_turn(self, count: int) -> list[str]:
        """The texts that are asked for in turn, one for each sample; empty for a generator that reads none. There are
        `count` samples where neither texts, nor classes, nor --num say it. Raises UserError where none is asked for and
        the generator reads them.
        """
        texts = read_texts(self.arguments["text"] or [])
        if not texts and (name := text_condition(self.loaded)) is not None:
            alphabet = getattr(self.loaded.generator.vocabulary(name), "alphabet", "")
            raise UserError(f"{self.loaded.path} reads texts: give --text, in characters of {alphabet!r}")
        num = self.arguments["num"]
        count = (max(len(texts), len(self.classes)) or count) if num is None else num
        return [(texts or [""])[number % max(1, len(texts))] for number in range(count)]

    def draw(self) -> None:
        """Run the sampler."""
        with progress_bar("sampling", self.task.count) as self.task.progress:
            self.samples = self.sample()

    @abstractmethod
    def sample(self) -> Samples:
        """Carry out the task."""

    @abstractmethod
    def write(self, folder: Path) -> dict[str, Any]:
        """Write all files but the record. Returns what belongs into the record."""

    def file(self, folder: Path, number: int, suffix: str) -> Path:
        """The file of one sample."""
        return folder / f"{number:0{max(self.digits, len(str(self.task.count - 1)))}d}{suffix}"

    def class_names(self) -> list[str | None]:
        """The class of each sample."""
        return names_of(self.labels, self.loaded.facts.class_names)


def read_texts(texts: Sequence[str]) -> list[str]:
    """Texts as `--text` takes them: a word that begins with @ names a file with one text a line. Raises UserError for a
    file that is missing, is no text, or has none in it.
    """
    return [line for text in texts for line in (_lines(text[1:]) if text.startswith("@") else [text])]


def _lines(path: str) -> list[str]:
    texts = [line.strip() for line in read_lines(path, "--text @") if line.strip()]
    if not texts:
        raise UserError(f"--text @{path} holds no text")
    return texts
