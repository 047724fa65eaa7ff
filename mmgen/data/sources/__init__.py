"""Where raw samples come from. Nothing here imports Lightning.

The data module `X` of `mmgen.data` trains on `XSource`, which takes those arguments of `X` that concern the samples
themselves; `mmgen.data.build` rests on that name.
"""

from mmgen.data.sources.base import Batch, Samples, Source, SplitName
from mmgen.data.sources.digits import DigitsSource
from mmgen.data.sources.emoji import EmojiSource
from mmgen.data.sources.image_folder import ImageFolderSource
from mmgen.data.sources.photos import PhotosSource
from mmgen.data.sources.tokens import CachedTokensSource

__all__ = [
    "Batch",
    "CachedTokensSource",
    "DigitsSource",
    "EmojiSource",
    "ImageFolderSource",
    "PhotosSource",
    "Samples",
    "Source",
    "SplitName",
]
