"""The table of modalities: where the kinds of data are that the engine serves, without naming any of them.

A modality is a package with `sources` and `tokenizers` in it. It enters the table by its dotted name, and is imported
when its parts are asked for.
"""

import pkgutil
from importlib import import_module

_PACKAGES: list[str] = []
_PARTS = ("sources", "data", "tokenizers")


def register(package: str) -> None:
    """Put a modality into the table, by the dotted name of its package. Nothing is imported yet."""
    if package not in _PACKAGES:
        _PACKAGES.append(package)


def import_parts(*kinds: str) -> None:
    """Import every modality's classes that a recipe may name: a short class name is found among imported classes.

    Args:
        kinds: `sources`, `data`, `tokenizers`; all of them by default.
    """
    for package in _PACKAGES:
        for kind in kinds or _PARTS:
            import_all(f"{package}.{kind}")


def import_all(package: str) -> None:
    """Import every module of a package, those of its packages included."""
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        import_module(module.name)
