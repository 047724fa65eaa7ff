"""Formulas as MathML, which browsers draw without a script or a font from elsewhere."""

from typing import Any

from latex2mathml.converter import convert


def formula(source: str, language: str, class_name: str, options: Any, md: Any, **_: Any) -> str:
    """HTML of a fence of LaTeX, as pymdownx.superfences asks for it."""
    return f'<div class="{class_name}">{convert(source.strip(), display="block")}</div>'
