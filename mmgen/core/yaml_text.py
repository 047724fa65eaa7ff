"""The one reader of YAML: recipes, configs of runs and exports, data files. What YAML would hide is refused.

YAML 1.1 keeps the last of two equal keys, and reads 010 as 8 and 1:30 as 90. Whoever writes such a file means something
else, so each is an error that names its line. A path that begins with ~/ leads to the home folder, as in a shell. A
date is a text, and a file that takes more memory than its size lets expect is refused.
"""

import math
import os
import re
from pathlib import Path
from typing import Any

import yaml

from mmgen.core.errors import UserError

_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_AMBIGUOUS = "YAML reads {text} as {number}; write that number, or quote a text"
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|\.[0-9][0-9_]*[eE][-+]?[0-9]+)$")

_MOST_BYTES = 2**22
_MOST_VALUES = 100_000
_DEEPEST = 60
_LARGEST_NUMBER = 2**63
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class StrictLoader(yaml.SafeLoader):
    """Plain values only, each key once and a text, each number in a notation that has one reading."""

    def __init__(self, stream: str | bytes) -> None:
        if len(stream) > _MOST_BYTES:
            raise yaml.YAMLError(f"it is larger than {_MOST_BYTES >> 20} MiB")
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[int, int] = {}  # id of a node -> its values; an open one has none yet

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event, before = self.peek_event(), self._values
        if self._depth >= _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"more than {_DEEPEST} levels deep", problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        is_alias = isinstance(event, yaml.AliasEvent)
        if is_alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(problem=f"*{event.anchor} stands within itself", problem_mark=event.start_mark)
        self._values += self._sizes[id(node)] if is_alias else 1
        self._sizes[id(node)] = self._values - before
        if self._values > _MOST_VALUES:  # however few lines name them again and again
            raise yaml.MarkedYAMLError(problem=f"more than {_MOST_VALUES:,} values", problem_mark=event.start_mark)
        if node is not None and node.tag not in _PLAIN:
            raise yaml.MarkedYAMLError(problem=f"{node.tag} is no plain value", problem_mark=event.start_mark)
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # of which PyYAML keeps the wrong one of two equal keys
                raise _error(key, "merge keys (<<) are not read; refer to a value as ${model.init_args.backbone}")
            if key.tag != "tag:yaml.org,2002:str":
                raise _error(key, f"the key {_shown(key)} is no text; put it in quotes")
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    raise _error(key, f"the key {key.value!r} stands on line {lines[key.value]} too; keep one of them")
                lines[key.value] = key.start_mark.line + 1
        return node

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        text = super().construct_yaml_str(node)
        return os.path.expanduser(text) if text.startswith("~/") else text  # as a shell does

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > 80 or abs(number := super().construct_yaml_int(node)) >= _LARGEST_NUMBER:
            raise _error(node, f"the number {_shown(node)} is larger than any that means something here")
        if _OCTAL.fullmatch(node.value) or ":" in node.value:
            raise _error(node, _AMBIGUOUS.format(text=node.value, number=number))
        return number

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        number = super().construct_yaml_float(node)
        if math.isinf(number) and "inf" not in node.value.lower():
            raise _error(node, f"the number {_shown(node)} is larger than any that means something here")
        if ":" in node.value:
            raise _error(node, _AMBIGUOUS.format(text=node.value, number=number))
        return number


# 2024-05-01 is a text: nothing takes a date.
StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_constructor("tag:yaml.org,2002:str", StrictLoader.construct_yaml_str)
StrictLoader.add_constructor("tag:yaml.org,2002:int", StrictLoader.construct_yaml_int)
StrictLoader.add_constructor("tag:yaml.org,2002:float", StrictLoader.construct_yaml_float)
# 1e-3 is a number, as it is to the parser of recipes and in YAML 1.2; YAML 1.1 wants 1.0e-3.
StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def read_yaml(path: Path) -> Any:
    """The content of a file. Raises UserError, naming the file and the line, where it is no YAML, cannot be read, or
    hides something (see above).
    """
    try:
        with open(path, "rb") as file:
            return parse_yaml(file.read(_MOST_BYTES + 1), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def parse_yaml(text: str | bytes, where: str) -> Any:
    """The value of a text; `where` it stands, for errors. Raises UserError as `read_yaml` does."""
    try:
        return load_strictly(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{where} cannot be read: {_one_line(error)}") from None


def load_strictly(text: str | bytes) -> Any:
    """As `parse_yaml`, for a caller that has errors of its own. Raises yaml.YAMLError, ValueError or RecursionError."""
    loader = StrictLoader(text)
    try:
        return loader.get_single_data()
    except (LookupError, TypeError, AttributeError):  # of a value such as `!!bool x`
        raise yaml.YAMLError("a value is not of the type that stands before it") from None
    finally:
        loader.dispose()


def _error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _shown(node: yaml.Node) -> str:
    """The beginning of a scalar as it stands in the file."""
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else "that is a list or a mapping"
    return f"{text[:20]}..." if len(text) > 40 else text


def _one_line(error: Exception) -> str:
    """Line, and what is wrong with it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        context = f" {error.context}" if error.context else ""
        return f"line {error.problem_mark.line + 1}:{context} {error.problem}".replace("  ", " ")
    return " ".join(str(error).split()) or type(error).__name__
