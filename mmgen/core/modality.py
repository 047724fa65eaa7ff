"""What the engine knows of a kind of data: one `Modality` each, and the table of them.

The engine names no modality. It looks up `TokenSpec.modality` here, and asks what it finds. A modality of this package
enters the table by the name of its folder, and is imported when it is asked for; one from elsewhere enters by
`register(MyModality())`.
"""

import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mmgen.core.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NoOptions:
    """No options of its own."""


@dataclass(frozen=True)
class AppControls:
    """What the local app offers for samples of one kind.

    Args:
        count: samples at first.
        frames: whether a person may choose the number of frames.
        sound: whether samples can be heard.
    """

    count: int = 4
    frames: bool = False
    sound: bool = False


class Modality:
    """One kind of data: its facts, and where the code is that handles it.

    A package of its own has modules of fixed names, which are imported when they are needed: `sample_files` (the
    `SamplingCommand`), `live`, `reconstruction`, `previews`, `evaluation.rows` (the `EvaluationCommand`) and
    `page.sections`. A modality that is laid out otherwise overrides the methods that look there. Arguments and results
    of those are of packages that the core does not import: their classes are named in words.

    Attributes:
        name: as in `TokenSpec.modality`.
        plural: what samples are called.
        class_noun: what one class of them is called.
        package: dotted name of a package with `sources` and `tokenizers`, whose classes recipes may name; None
            for none.
        unit: what the length of a sample is counted in; None where time is no axis.
        fills_end: a sample that is no whole number of latents is filled up at its end; otherwise its first latent is
            shorter.
        bounded: raw samples lie in [-1, 1]; otherwise they are any finite numbers.
        preview_count: samples on a preview in training.
        app: what the local app offers.
        sample_options: dataclass of the options of `mmgen sample` that are for this modality, with their descriptions.
        reconstruct_options: the same for `mmgen reconstruct`.
        evaluate_options: the same for `mmgen evaluate`.
        export_options: the same for `mmgen export`, of published tokenizers.
        library: package whose published tokenizers are taken, by `tokenizers.pretrained`; None for none.
        commands: name of a command of its own -> what it does, in a line; each is `run` of a module of that name in
            `commands`.
        sample_files: suffixes of files of samples that `mmgen evaluate` takes in the place of a run.
    """

    name: ClassVar[str]
    plural: ClassVar[str]
    class_noun: ClassVar[str] = "class"
    package: ClassVar[str | None] = None
    unit: ClassVar[str | None] = None
    fills_end: ClassVar[bool] = False
    bounded: ClassVar[bool] = True
    preview_count: ClassVar[int] = 4
    app: ClassVar[AppControls] = AppControls()
    sample_options: ClassVar[type] = NoOptions
    reconstruct_options: ClassVar[type] = NoOptions
    evaluate_options: ClassVar[type] = NoOptions
    export_options: ClassVar[type] = NoOptions
    library: ClassVar[str | None] = None
    commands: ClassVar[Mapping[str, str]] = {}
    sample_files: ClassVar[tuple[str, ...]] = ()

    def _part(self, module: str, name: str) -> Any:
        """What a module of the modality's package calls by that name."""
        return getattr(import_module(f"{self.package}.{module}"), name)

    def sample(self, loaded: Any, arguments: dict[str, Any]) -> Any:
        """The `SamplingCommand` of a `Loaded` run. Raises UserError where the arguments do not fit the run."""
        return self._part("sample_files", "COMMAND")(loaded, arguments)

    def stream(self, loaded: Any, request: Any, every: float) -> Iterator[Any]:
        """A `Preview` of the samples of a `SamplingRequest` while they are made, the finished ones last, `every`
        seconds apart at least; 0 for every step.
        """
        return self._part("live", "stream_previews")(loaded, request, every)

    def reconstruct(self, tokenizer: Any, files: Sequence[str], out: str, arguments: dict[str, Any]) -> None:
        """Encode files, decode them again, and write the results into a new folder. Raises UserError for files that do
        not fit.
        """
        if self.package is None:
            raise UserError(f"mmgen reconstruct reads no files of {self.plural}")
        self._part("reconstruction", "reconstruct_files")(tokenizer, files, out, **arguments)

    def reconstruct_held_out(self, tokenizer: Any, source: Any, count: int, folder: Path) -> dict[str, Any]:
        """Encode `count` held-out samples of a source, decode them, and write each beside its recording into an empty
        folder: NNN.* and NNN.real.*. Returns the record: `samples`, figures and names. Raises UserError where the
        tokenizer does not take such samples.
        """
        if self.package is None:
            raise UserError(f"{self.plural} of data cannot be reconstructed: name files")
        return self._part("reconstruction", "reconstruct_held_out")(tokenizer, source, count, folder)

    def page_parts(self) -> Any:
        """What a page says of samples, as `PageParts`; None for a table of their files."""
        return None if self.package is None else self._part("page.sections", "PARTS")

    def evaluation(self) -> type[Any]:
        """The `EvaluationCommand`, a class."""
        return self._part("evaluation.rows", "COMMAND")

    def reconstruction_preview(self, module: Any, data: Any, count: int) -> Any:
        """A `Preview` of held-out samples and their reconstructions, from a `TokenizerModule` and a `DataModule`."""
        return self._part("previews", "reconstruction_preview")(module, data, count)

    def sample_previews(
        self,
        module: Any,
        data: Any,
        tokenizer: Any,
        count: int,
        options: Any,
    ) -> Iterator[Any]:
        """A `Preview` of each mode's samples, its name the caption, from a `GeneratorModule`, by `SampleOptions`."""
        return self._part("previews", "sample_previews")(module, data, tokenizer, count, options)

    def reconstruction_metrics(
        self, tokenizer: Any, made: "Tensor", target: "Tensor", batch: dict[str, Any]
    ) -> dict[str, "Tensor"]:
        """Scalar metrics of held-out reconstructions, against their targets, that training logs beside the losses."""
        return {}

    def open_published(self, path: Path, arguments: dict[str, Any]) -> Any:
        """The `PretrainedTokenizer` in a folder that `library` wrote, by `export_options`. Raises UserError for what is
        none.
        """
        return self._part("tokenizers.pretrained", "open_pretrained")(path, **arguments)


_MODALITIES: dict[str, Modality] = {}
_PACKAGES: dict[str, str] = {}
_PARTS = ("sources", "tokenizers")


def register(modality: Modality) -> None:
    """Put a modality into the table."""
    _MODALITIES[modality.name] = modality


def register_package(name: str, package: str) -> None:
    """Put a modality into the table that is MODALITY in the module `modality` of a package. Nothing is imported yet."""
    _PACKAGES[name] = package


def modality_packages() -> list[str]:
    """Packages or modules in which the classes of registered modalities are."""
    return [*_PACKAGES.values(), *(each.package or type(each).__module__ for each in _MODALITIES.values())]


def modality_names() -> list[str]:
    """Names of all modalities, in the order in which they were registered."""
    return list(dict.fromkeys((*_PACKAGES, *_MODALITIES)))


def find_modality(name: str) -> Modality | None:
    """The modality of that name, or None."""
    if name not in _MODALITIES and name in _PACKAGES:
        register(import_module(f"{_PACKAGES[name]}.modality").MODALITY)
    return _MODALITIES.get(name)


def modality_of(name: str) -> Modality:
    """The modality of that name. Raises UserError where there is none."""
    modality = find_modality(name)
    if modality is None:
        known = ", ".join(modality_names())
        raise UserError(
            f"there is no modality {name!r}: choose {known}, or register it first{nearest(name, modality_names())}"
        )
    return modality


def all_modalities() -> list[Modality]:
    """All modalities, in the order in which they were registered."""
    return [modality_of(name) for name in modality_names()]


@cache
def modality_of_source(class_name: str) -> str | None:
    """The modality whose package defines a class of sources, by the text of its files; None for no such."""
    packages = _PACKAGES | {name: each.package for name, each in _MODALITIES.items() if each.package}
    defined = re.compile(rf"^class {re.escape(class_name)}\b", re.MULTILINE)
    for name, package in packages.items():
        folders = [Path(folder) / "sources" for folder in import_module(package).__path__]
        if any(defined.search(file.read_text("utf-8")) for folder in folders for file in folder.rglob("*.py")):
            return name
    return None


def import_parts(*kinds: str) -> None:
    """Import what recipes may name of every modality: all classes of these kinds, `sources` and `tokenizers` by
    default.
    """
    packages = dict.fromkeys([*_PACKAGES.values(), *(each.package for each in _MODALITIES.values() if each.package)])
    for package in packages:
        for kind in kinds or _PARTS:
            import_all(f"{package}.{kind}")


def import_all(package: str) -> None:
    """Import every module of a package, those of its packages included."""
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        import_module(module.name)
