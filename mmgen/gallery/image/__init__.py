"""The page of an image run."""

from mmgen.gallery.image.page import image_page

__all__ = ["image_page"]
