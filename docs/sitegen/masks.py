"""The mask sheet: each mask's picture, sentence, predicate and source, from the catalogue and its own code."""

import ast
import inspect
import io
from collections.abc import Iterator
from textwrap import dedent

import mmgen.core.masks
from mmgen.core.masks import CATALOGUE, Family, example, get_mask
from mmgen.media.mask_picture import mask_image
from sitegen.links import relative


def pictures() -> Iterator[tuple[str, bytes]]:
    """(path in the site, PNG) of every mask of the catalogue."""
    for name in CATALOGUE:
        file = io.BytesIO()
        mask_image(get_mask(name), *example(name)).save(file, "PNG")
        yield _path(name), file.getvalue()


def picture(name: str, page: str) -> str:
    """A mask's picture with a link to its entry on the sheet."""
    mask = get_mask(name)
    image = f"![The mask {name}: {mask.sentence}]({relative(_path(name), page)}){{ .mask width=420 }}"
    return f"{image}\n\nThe mask [`{name}`]({relative('masks.md', page)}#{name}): {mask.sentence}\n"


def sheet(_: str, page: str) -> str:
    """An entry for every mask."""
    return "\n".join(_entry(name, page) for name in CATALOGUE)


def _entry(name: str, page: str) -> str:
    entry, function = CATALOGUE[name], _functions()[name]
    lines = [
        f"## {name} {{#{name}}}", "", entry.sentence, "",
        f"![The mask {name}]({relative(_path(name), page)}){{ .mask width=420 }}", "",
        "```python", _predicate(function), "```", "",
    ]  # fmt: skip
    if isinstance(entry, Family):
        lines += [f"Takes a number, `{entry.option}`: `{name}({entry.default:g})` is what `{name}` means.", ""]
    if not _says_prefix(function):
        lines += ["A prefix is visible to all, and sees the prefix alone.", ""]
    return "\n".join([*lines, f"Source: {entry.source}.", ""])


def _path(name: str) -> str:
    return f"masks/{name}.png"


def _functions() -> dict[str, ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(mmgen.core.masks))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _predicate(function: ast.FunctionDef) -> str:
    """The function without its decorator and docstring, as it stands in the file."""
    lines = inspect.getsource(mmgen.core.masks).splitlines()
    head = lines[function.lineno - 1 : function.body[0].lineno - 1]
    body = lines[function.body[1].lineno - 1 : function.end_lineno]
    return dedent("\n".join([*head, *body]))


def _says_prefix(function: ast.FunctionDef) -> bool:
    calls = [each for each in function.decorator_list if isinstance(each, ast.Call)]
    return any(word.arg == "own_prefix" for call in calls for word in call.keywords)
