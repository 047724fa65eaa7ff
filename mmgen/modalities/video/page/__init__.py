"""The page of a video run."""

from mmgen.modalities.video.page.page import video_page

__all__ = ["video_page"]
