"""Where raw samples come from: the base of sources, and what they are made of. Nothing here imports Lightning."""

from mmgen.data.sources.base import Batch, Samples, Source, SplitName, to_device
from mmgen.data.sources.cached_tokens import CachedTokens

__all__ = ["Batch", "CachedTokens", "Samples", "Source", "SplitName", "to_device"]
