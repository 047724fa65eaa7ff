"""The page of a run of motions."""

from mmgen.modalities.motion.page.page import motion_page

__all__ = ["motion_page"]
