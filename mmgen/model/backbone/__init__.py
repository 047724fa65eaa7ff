"""One transformer for every system; see `transformer.py`."""

from mmgen.model.backbone.cache import Cache
from mmgen.model.backbone.compiled import Compiled, compile_passes
from mmgen.model.backbone.cpu.packed import Packed
from mmgen.model.backbone.cross_attention import Memory
from mmgen.model.backbone.prepare import prepare, prepare_head
from mmgen.model.backbone.transformer import Passes, Transformer
