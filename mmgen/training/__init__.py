"""Lightning around the plain modules: thin LightningModules, their optimiser, and the callbacks of a run.

Lightning takes seconds to import, so the modules are imported when they are first named.
"""

from importlib import import_module
from typing import Any

_MODULES = {"GeneratorModule": "generator_module", "JointModule": "joint_module", "TokenizerModule": "tokenizer_module"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
