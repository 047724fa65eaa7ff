"""The command line of a recipe: its files become one, and an option counts wherever it stands."""

from pathlib import Path

import yaml

from mmgen.core.yaml_text import read_yaml
from mmgen.store.recipe_merge import merge_recipes

_CONFIG = ("--config", "-c")
_NULL = ("null", "Null", "NULL", "~")


def split_files(args: list[str]) -> tuple[list[str], list[str]]:
    """What --config names on a command line, and the other arguments in their order."""
    files, others, words = [], [], iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option in _CONFIG and (value := value if equals else next(words, "")):
            files.append(value)
        else:
            others.append(word)
    return files, others


def ordered(args: list[str]) -> list[str]:
    """The command line as the parser takes it, for which the last word counts: first the recipe, of all its files, so
    that options before a file are not undone by it; then the class of a part before the options of that part.
    """
    files, others = split_files(args)
    if len(files) > 1:
        files = [yaml.safe_dump(merge_recipes(read_yaml(Path(file)) for file in files), sort_keys=False)]
    return [*(f"--config={file}" for file in files), *_classes_first(others)]


def _classes_first(args: list[str]) -> list[str]:
    options: list[list[str]] = []  # each with its value
    for word in args:
        if not options or word.startswith("--") or "=" in options[-1][0] or len(options[-1]) == 2:
            options.append([word])
        else:
            options[-1].append(word)
    placed: list[tuple[str, list[str]]] = []
    for option in options:
        name = option[0].partition("=")[0].replace(".init_args", "").removesuffix(".class_path").removesuffix("+")
        known, without = [each for each, _ in placed], option[-1].rpartition("=")[2] in _NULL
        # A part that is left out is left out with the options that stand before.
        first = (place for place, each in enumerate(known) if each.startswith(f"{name}.") and not without)
        below = next(first, len(known))
        placed.insert(len(known) if name in known[:below] else below, (name, option))
    return [word for _, option in placed for word in option]
