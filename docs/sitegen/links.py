"""Links of documents: to other pages of the site where it has them, plain code where they name source files.

Documents are written to be read in the repository too, where `../mmgen/core/masks.py` is a file beside them. The
site has no sources, and the repository no address that could be known here.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Carried:
    """Files from outside docs/ that the site has: path in the repository -> path in the site."""

    def __init__(self) -> None:
        self._site = {"README.md": "index.md"}

    def add(self, source: str, site: str) -> None:
        """A file of the repository has a place in the site."""
        self._site[source] = site

    def read(self, source: str) -> str:
        """Text of a file of the repository."""
        return (ROOT / source).read_text()

    def source(self, site: str) -> str:
        """Where a page comes from: path in the repository."""
        found = (source for source, path in self._site.items() if path == site and source != "README.md")
        return next(found, f"docs/{site}")

    def site(self, source: str) -> str | None:
        """Where the site has a file of the repository; None for nowhere."""
        source = source.rstrip("/")
        if source.startswith("docs/"):
            return None if (ROOT / source).is_dir() else source.removeprefix("docs/")
        options = (source, f"{source}/README.md", re.sub(r"/config\.yaml$", "/README.md", source))
        return next((self._site[option] for option in options if option in self._site), None)


def rewrite(markdown: str, page: str, carried: Carried) -> str:
    """A document's relative links, as the site needs them.

    Args:
        markdown: the document.
        page: its path in the site.
        carried: what the site has.
    """
    base = os.path.dirname(carried.source(page))

    def change(found: re.Match[str]) -> str:
        bang, text, link = found.groups()
        target, sharp, anchor = link.partition("#")
        if not target or "://" in link or link.startswith("mailto:"):
            return found[0]
        source = os.path.normpath(os.path.join(base, target))
        site = carried.site(source)
        if site is not None:
            return f"{bang}[{text}]({os.path.relpath(site, os.path.dirname(page) or '.')}{sharp}{anchor})"
        name = source + "/" * (ROOT / source).is_dir()
        plain = text.strip("`")
        return f"`{name}`" if os.path.normpath(plain) == source or plain == target else f"{text} (`{name}`)"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", change, part) for part in parts[::2]]
    return "".join(parts)


def relative(target: str, page: str) -> str:
    """A path in the site, as a page refers to it."""
    return os.path.relpath(target, os.path.dirname(page) or ".")
