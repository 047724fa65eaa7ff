"""Which tests `make quick` leaves out: those that train, compile or start programs, and other files that take long."""

import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

STARTS = re.compile(
    r"\"fit\"|\bfit\(|Trainer\(|\boptim\.|chromium|\bsubprocess\.|\bmultiprocessing\b|\bPopen\b"
    r"|\.compile\((?!r?\")|compile_passes|flex_attention"
)

HEAVY = {
    "tests/apps": "commands from end to end",
    "cli/": "the same of each modality",
    "test_training.py": "resumed runs of each modality",
    "data/": "files, fonts, games and voices",
    "evaluation/": "networks that judge, and whole measurements",
    "tests/fuzz": "hundreds of damaged files",
    "tests/properties/test_codes.py": "every discrete paradigm on every kind of tokens",
    "tests/properties/test_distribution.py": "thousands of samples of each paradigm",
    "tests/properties/test_modes_mix.py": "every pair of modes",
    "tests/properties/test_sampling_laws.py": "every paradigm under every way of decoding",
    "tests/properties/test_video_laws.py": "the same of clips",
    "tests/recipes": "every recipe",
    "tests/soak": "kills and resumptions",
    "tests/store/test_hostile_files.py": "files that would take all memory",
    "tests/store/test_members.py": "joint runs",
    "tests/tokenizers/test_laws.py": "every tokenizer",
    "tests/tokenizers/test_stream.py": "long streams",
    "tokenizers/test_pretrained.py": "networks of other libraries",
    "tests/test_docs.py": "the examples of the documents",
    "tests/tools": "whole plans, benches and archives",
}
"""Folders and files, with the reason."""


def is_slow(item: Any) -> bool:
    """Whether a collected test is in one of the heavy files, or trains or starts a program: its own source, that of its
    fixtures, or that of a function of the tests that they name.
    """
    path = Path(item.path).as_posix()
    if any(f"/{heavy}" in path for heavy in HEAVY):
        return True
    fixtures = [each[-1].func for each in item._fixtureinfo.name2fixturedefs.values()]
    return any(_starts(inspect.unwrap(each)) for each in (item.function, *fixtures))


@cache
def _starts(function: Callable[..., Any]) -> bool:
    found, rest = set(), [function]
    while rest:
        each = rest.pop()
        if each in found or not each.__module__.startswith("tests"):
            continue
        found.add(each)
        source = inspect.getsource(each)
        if STARTS.search(source):
            return True
        known = getattr(each, "__globals__", {})
        named = (known.get(word) for word in set(re.findall(r"\w+", source)))
        rest += [inspect.unwrap(one) for one in named if inspect.isfunction(one)]
    return False
