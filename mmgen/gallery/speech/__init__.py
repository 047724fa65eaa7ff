"""The page of a run of speech."""

from mmgen.gallery.speech.page import speech_page

__all__ = ["speech_page"]
