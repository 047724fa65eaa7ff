"""The page of a run of speech."""

from mmgen.modalities.speech.page.page import speech_page

__all__ = ["speech_page"]
