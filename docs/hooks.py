"""What mkdocs does beyond rendering: pages and pictures made from the code, links into the repository, formulas.

A document may hold a marker on a line of its own, which becomes what the code says at the time of the build:
`<!-- mask NAME -->`, `<!-- masks -->`, `<!-- commands -->`, `<!-- arguments CLASS -->`, `<!-- parts -->`,
`<!-- recipes tokenizers -->`. So nothing that is generated is kept in the repository, where it would grow stale.
"""

import re
from collections.abc import Callable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from sitegen import arguments, commands, masks, recipes
from sitegen.formulas import formula
from sitegen.links import Carried, rewrite

from mmgen.core.errors import UserError

MARKERS: dict[str, Callable[[str, str], str]] = {
    "mask": masks.picture,
    "masks": masks.sheet,
    "commands": commands.reference,
    "arguments": arguments.of_class,
    "parts": arguments.parts,
    "recipes": recipes.table,
}
"""Marker -> (the word behind it, the page's path) -> Markdown."""

carried = Carried()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fences of language `math` become MathML."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formula})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pictures of masks, the recipes with their cards, and the documents that lie outside docs/."""
    for path, content in masks.pictures():
        files.append(File.generated(config, path, content=content))
    for path, source, text in recipes.pages():
        carried.add(source, path)
        files.append(File.generated(config, path, content=text))
    for path, source, content in recipes.pictures():
        carried.add(source, path)
        files.append(File.generated(config, path, content=content))
    for source, path in (("CONTRIBUTING.md", "contributing.md"), ("CHANGELOG.md", "changelog.md")):
        carried.add(source, path)
        files.append(File.generated(config, path, content=carried.read(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links first, since what the markers bring has its own."""
    path = page.file.src_uri
    markdown = rewrite(markdown, path, carried)
    return re.sub(r"^<!-- (\w+)(?: ([\w.]+))? -->$", lambda found: _made(found, path), markdown, flags=re.MULTILINE)


def _made(found: re.Match[str], path: str) -> str:
    if found[1] not in MARKERS:
        raise PluginError(f"{path}: there is no marker {found[0]}")
    try:
        return MARKERS[found[1]](found[2] or "", path)
    except UserError as error:
        raise PluginError(f"{path}: {found[0]}: {error}") from None
