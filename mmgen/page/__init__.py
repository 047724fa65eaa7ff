"""The gallery: one self-contained HTML page about what a run learned; a package a modality, of parts that all share."""

from mmgen.page.page import render

__all__ = ["render"]
