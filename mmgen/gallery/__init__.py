"""The gallery: one self-contained HTML page about what a run learned."""

from mmgen.gallery.image import image_page
from mmgen.gallery.page import render

__all__ = ["image_page", "render"]
