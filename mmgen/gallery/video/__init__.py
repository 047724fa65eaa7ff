"""The page of a video run."""

from mmgen.gallery.video.page import video_page

__all__ = ["video_page"]
