"""The page of an image run."""

from mmgen.modalities.image.page.page import image_page

__all__ = ["image_page"]
