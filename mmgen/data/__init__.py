"""Data: sources of raw samples (`mmgen.data.sources`, no Lightning) and the data module that trains on them.

Lightning takes seconds to import, so a data module is imported when it is first named; `mmgen.data.sources`,
`mmgen.data.build`, `mmgen.data.stream` and `mmgen.data.shards` never import it.
"""

from importlib import import_module
from typing import Any

_MODULES = {"DataModule": "base", "JointData": "joint"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
