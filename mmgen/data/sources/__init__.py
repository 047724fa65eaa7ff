"""Where raw samples come from. Nothing here imports Lightning.

The data module `X` trains on `XSource`, which takes those arguments of `X` that concern the samples themselves;
`mmgen.data.build` rests on that name.
"""

from mmgen.data.sources.base import Batch, Samples, Source, SplitName
from mmgen.data.sources.cached_tokens import CachedTokensSource
from mmgen.data.sources.digits import DigitsSource

__all__ = ["Batch", "CachedTokensSource", "DigitsSource", "Samples", "Source", "SplitName"]
