"""What mixes the positions of a row: one class a file, attention by default."""

from mmgen.model.backbone.mixers.attention import Attention
from mmgen.model.backbone.mixers.base import Mixer, MixerFactory, MixerShape
from mmgen.model.backbone.mixers.recurrence import Recurrence
