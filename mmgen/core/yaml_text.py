"""The one reader of YAML: recipes, configs of runs and exports, data files. What YAML would hide is refused.

YAML 1.1 keeps the last of two equal keys, and reads 010 as 8 and 1:30 as 90. Whoever writes such a file means something
else, so each is an error that names its line. A path that begins with ~/ leads to the home folder, as in a shell.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from mmgen.core.errors import UserError

_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_AMBIGUOUS = "YAML reads {text} as {number}; write that number, or quote a text"
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|\.[0-9][0-9_]*[eE][-+]?[0-9]+)$")


class StrictLoader(yaml.SafeLoader):
    """Plain values only, each key once, each number in a notation that has one reading."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # of which PyYAML keeps the wrong one of two equal keys
                raise _error(key, "merge keys (<<) are not read; refer to a value as ${model.init_args.backbone}")
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    raise _error(key, f"the key {key.value!r} stands on line {lines[key.value]} too; keep one of them")
                lines[key.value] = key.start_mark.line + 1
        return node

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        text = super().construct_yaml_str(node)
        return os.path.expanduser(text) if text.startswith("~/") else text  # as a shell does

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        number = super().construct_yaml_int(node)
        if _OCTAL.fullmatch(node.value) or ":" in node.value:
            raise _error(node, _AMBIGUOUS.format(text=node.value, number=number))
        return number

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        number = super().construct_yaml_float(node)
        if ":" in node.value:
            raise _error(node, _AMBIGUOUS.format(text=node.value, number=number))
        return number


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
        return parse_yaml(path.read_bytes(), str(path))
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
    finally:
        loader.dispose()


def _error(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _one_line(error: Exception) -> str:
    """Line, and what is wrong with it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        context = f" {error.context}" if error.context else ""
        return f"line {error.problem_mark.line + 1}:{context} {error.problem}".replace("  ", " ")
    return " ".join(str(error).split()) or type(error).__name__
