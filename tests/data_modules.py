"""Data modules around a source, in one call."""

from typing import Any

from mmgen.data import DataModule
from mmgen.data.sources import Source

_OWN = ("global_batch_size", "seed", "tokenizer", "num_workers")


def data_module(kind: type[Source], *arguments: Any, **options: Any) -> DataModule:
    """A data module around a source of this kind; options that the source does not take are the module's."""
    own = {name: options.pop(name) for name in _OWN if name in options}
    return DataModule(kind(*arguments, **options), **own)


def data_section(kind: str, **options: Any) -> dict[str, Any]:
    """The `data` section of a recipe: the same, by name."""
    own = {name: options.pop(name) for name in _OWN if name in options}
    source = {"class_path": kind, "init_args": options}
    return {"class_path": "mmgen.data.base.DataModule", "init_args": {"source": source, **own}}
