"""One transformer for every system; see `transformer.py`."""

from mmgen.backbone.cache import Cache
from mmgen.backbone.compiled import Compiled, compile_passes
from mmgen.backbone.packed import Packed, pack
from mmgen.backbone.transformer import Transformer

__all__ = ["Cache", "Compiled", "Packed", "Transformer", "compile_passes", "pack"]
