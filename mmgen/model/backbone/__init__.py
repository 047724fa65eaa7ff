"""One transformer for every system; see `transformer.py`."""

from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.compiled import Compiled, compile_passes
from mmgen.model.backbone.cpu.packed import Packed, pack
from mmgen.model.backbone.transformer import Transformer

__all__ = ["Cache", "Compiled", "Packed", "Transformer", "compile_passes", "pack"]
