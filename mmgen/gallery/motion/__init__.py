"""The page of a run of motions."""

from mmgen.gallery.motion.page import motion_page

__all__ = ["motion_page"]
