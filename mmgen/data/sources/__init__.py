"""Where raw samples come from. Nothing here imports Lightning.

The data module `X` of `mmgen.data` trains on `XSource`, which takes those arguments of `X` that concern the samples
themselves; `mmgen.data.build` rests on that name.
"""

from mmgen.data.sources.asterisk_prompts import AsteriskPromptsSource
from mmgen.data.sources.atari import AtariSource
from mmgen.data.sources.base import Batch, Samples, Source, SplitName
from mmgen.data.sources.digits import DigitsSource
from mmgen.data.sources.emoji import EmojiSource
from mmgen.data.sources.espeak_speech import EspeakSpeechSource
from mmgen.data.sources.humanml3d import HumanML3DSource
from mmgen.data.sources.image_folder import ImageFolderSource
from mmgen.data.sources.mocap import MocapSource
from mmgen.data.sources.moving_digits import MovingDigitsSource
from mmgen.data.sources.photos import PhotosSource
from mmgen.data.sources.speech_folder import SpeechFolderSource
from mmgen.data.sources.tokens import CachedTokensSource
from mmgen.data.sources.video_folder import VideoFolderSource
from mmgen.data.sources.web_dataset import WebDatasetSource

__all__ = [
    "AsteriskPromptsSource",
    "AtariSource",
    "Batch",
    "CachedTokensSource",
    "DigitsSource",
    "EmojiSource",
    "EspeakSpeechSource",
    "HumanML3DSource",
    "ImageFolderSource",
    "MocapSource",
    "MovingDigitsSource",
    "PhotosSource",
    "Samples",
    "Source",
    "SpeechFolderSource",
    "SplitName",
    "VideoFolderSource",
    "WebDatasetSource",
]
