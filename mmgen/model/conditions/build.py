"""From a recipe's list of conditions, and what the data brings, to modules."""

from collections.abc import Mapping

from mmgen.core.errors import UserError, nearest
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import Vocabulary
from mmgen.model.conditions.base import Condition, ConditionFactory


def build_conditions(
    chosen: Mapping[str, ConditionFactory] | None, brought: Mapping[str, Vocabulary], spec: TokenSpec, dim: int
) -> dict[str, Condition]:
    """The conditions of a generator, by name.

    Args:
        chosen: name -> how it is made; None for all that the data brings, each by the default kind of its vocabulary.
        brought: name -> vocabulary, of the data.
        spec: of the tokens.
        dim: width of the backbone.

    Raises:
        UserError: a condition that the data does not bring, or of another vocabulary.
    """
    if chosen is None:
        defaults = {name: default_kind(vocabulary) for name, vocabulary in brought.items()}
        chosen = {name: kind for name, kind in defaults.items() if kind is not None}
    return {name: _made(name, factory, brought, spec, dim) for name, factory in chosen.items()}


def unread(made: Mapping[str, Condition], brought: Mapping[str, Vocabulary]) -> list[str]:
    """The names of what the data brings and no condition reads."""
    return [name for name in brought if name not in made]


def default_kind(vocabulary: Vocabulary) -> ConditionFactory | None:
    """The kind of condition that is taken for a vocabulary where nobody chose one; None where there is none."""
    kinds = [kind for kind in _below(Condition) if kind.default and kind.takes is type(vocabulary)]
    return kinds[0] if kinds else None


def _made(
    name: str, factory: ConditionFactory, brought: Mapping[str, Vocabulary], spec: TokenSpec, dim: int
) -> Condition:
    if name not in brought:
        known = ", ".join(brought) or "no conditions"
        raise UserError(f"model.conditions.{name} has no data: it brings {known}{nearest(name, brought)}")
    try:
        made = factory(brought[name], spec, dim)
    except UserError as error:
        raise UserError(f"model.conditions.{name}: {error}") from None
    return made


def _below(kind: type) -> list[type[Condition]]:
    """All classes below one, at any depth."""
    direct: list[type] = kind.__subclasses__()
    return direct + [each for below in direct for each in _below(below)]
