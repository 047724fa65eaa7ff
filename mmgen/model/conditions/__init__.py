"""What a generator can be told besides tokens: an open set of named conditions, a file for each kind."""

from mmgen.model.conditions.actions import Actions
from mmgen.model.conditions.base import Condition, ConditionFactory, Conditioning, Entrance, Entry
from mmgen.model.conditions.characters import Characters
from mmgen.model.conditions.class_label import ClassLabel, Speaker
from mmgen.model.conditions.conditions import Conditions, build_conditions, unread
from mmgen.model.conditions.text_features import TextFeatures
