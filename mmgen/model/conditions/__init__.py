"""What a generator can be told besides tokens: an open set of named conditions, a file for each kind."""

from mmgen.model.conditions.actions import Actions
from mmgen.model.conditions.base import Condition, ConditionFactory, Entrance
from mmgen.model.conditions.build import build_conditions, unread
from mmgen.model.conditions.characters import Characters
from mmgen.model.conditions.class_label import ClassLabel
from mmgen.model.conditions.conditioning import Conditioning, Entry
from mmgen.model.conditions.conditions import Conditions
from mmgen.model.conditions.speaker import Speaker
from mmgen.model.conditions.text_features import TextFeatures

__all__ = [
    "Actions",
    "Characters",
    "ClassLabel",
    "Condition",
    "ConditionFactory",
    "Conditioning",
    "Conditions",
    "Entrance",
    "Entry",
    "Speaker",
    "TextFeatures",
    "build_conditions",
    "unread",
]
