"""Values of options that mean nothing: null, numbers out of range, NaN. Refused by name, before anything is built.

One table serves recipes, runs and every command. A name means the same wherever it stands; a number of mmgen's own that
the table does not name is at least 0.
"""

import dataclasses
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from mmgen.core.errors import UserError
from mmgen.store.allowed_imports import is_within


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, without these where `above` or `below` say so, and the one of `also`."""

    least: float = 0
    most: float = math.inf
    above: bool = False
    below: bool = False
    also: float | None = None

    def __contains__(self, number: float) -> bool:
        low = number > self.least if self.above else number >= self.least
        high = number < self.most if self.below else number <= self.most
        return (low and high and math.isfinite(number)) or number == self.also

    def __str__(self) -> str:
        if self.most < math.inf:
            text = f"lie in {'(' if self.above else '['}{self.least:g}, {self.most:.10g}{')' if self.below else ']'}"
        else:
            text = f"be {'above' if self.above else 'at least'} {self.least:g}"
        return text if self.also is None else f"{text}, or {self.also:g}"


def _same(limits: Range, names: str) -> dict[str, Range]:
    return dict.fromkeys(names.split(), limits)


RANGES = {
    **_same(Range(1), "accumulate_grad_batches batch bins channels check_val_every_n_epoch codes depth dim"),
    **_same(Range(1), "every_n_train_steps frames global_batch_size gpus heads hop image_size kv_heads level_depth"),
    **_same(Range(1), "levels log_every_n_steps mels mlp_hidden n_fft num num_nodes parallel_blocks patch per_shard"),
    **_same(Range(1), "rollout runs sample_rate shard_size steps threads top_k width"),
    **_same(Range(1, also=-1), "max_epochs max_steps"),
    **_same(Range(0), "fast_dev_run gradient_clip_val min_epochs min_steps num_workers warmup_steps weight_decay"),
    **_same(Range(0, above=True), "eps fps limit_train_batches lr mfu minutes norm_eps rope_base seconds"),
    **_same(Range(0, above=True), "val_check_interval"),
    **_same(
        Range(0, 1), "coarse context_noise decay dropout few input_dropout leak mixed own_dropout prompt remask_at"
    ),
    **_same(Range(0, 1), "remask_at remask_eta remask_share threshold token_noise"),
    **_same(Range(0, 1, above=True), "top_p"),
    **_same(Range(0, 1, below=True), "betas momentum"),
    **_same(Range(0, 2**32 - 1), "seed_everything"),
    **_same(Range(0, 2**63 - 1), "recording_seed seed"),
    **_same(Range(1, 65535), "port"),
}
"""Name of an option -> what it may be, of numbers and of those in a list."""

Limits = Callable[[str], Range | None]

_ANY_SIGN = {"floor_db", "pairs"}
_FOREIGN = ("torch.optim", "lightning.pytorch.trainer")  # they mean the same by names of the table
_NEVER_NULL = {"log_every_n_steps", "matmul_precision", "val_check_interval"}  # null is taken for another choice


def check_values(values: Mapping[str, Any], owner: Any, place: str = "") -> None:
    """Look at the arguments of a class or function, and of the parts that they name.

    Args:
        values: argument -> value, as the parser gives it: parts are sections with a class_path.
        owner: the class or function.
        place: what stands before an argument's name in errors: `model.`, `--`.

    Raises:
        UserError: null where nothing is meant by it, NaN or infinity, or a number out of range.
    """
    parameters, hints = _signature(owner)
    limits = _limits(owner)
    for name, value in values.items():
        parameter, hint = parameters.get(name), hints.get(name)
        if value is None:
            if name in _NEVER_NULL or (parameter is not None and not _takes_null(parameter, hint)):
                raise UserError(f"{place}{name} null means nothing{_instead(parameter)}")
        else:
            _check(name, value, hint, limits, f"{place}{name}")


def _check(name: str, value: Any, hint: Any, limits: Limits, place: str) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        allowed = limits(name)
        if allowed is not None and value not in allowed:
            raise UserError(f"{place} {value:.10g} must {allowed}")
    elif isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        check_values(value.get("init_args") or {}, _imported(value["class_path"]), f"{place}.")
    elif isinstance(value, Mapping):
        data = next((each for each in _types(hint) if dataclasses.is_dataclass(each)), None)
        if data is not None and not any(get_origin(each) is dict for each in _types(hint)):
            check_values(value, data, f"{place}.")
            return
        for key, item in value.items():
            if data is not None and isinstance(item, Mapping):
                check_values(item, data, f"{place}.{key}.")
            else:
                _check(name, item, None, RANGES.get, f"{place}.{key}")  # what another package is given has any sign
    elif isinstance(value, list | tuple):
        for item in value:
            _check(name, item, hint, limits, place)


def _limits(owner: Any) -> Limits:
    """What numbers of a class or function may be, by their names; of None, which is a command, as of mmgen's own."""
    module = "mmgen" if owner is None else str(getattr(owner, "__module__", ""))
    if is_within(module, ("mmgen",)):
        return lambda name: RANGES.get(name, None if name in _ANY_SIGN else Range())
    return RANGES.get if is_within(module, _FOREIGN) else lambda name: None


def _signature(owner: Any) -> tuple[Mapping[str, inspect.Parameter], Mapping[str, Any]]:
    """Parameters and their types; none where they cannot be told."""
    try:
        parameters = inspect.signature(owner).parameters
    except (TypeError, ValueError):
        return {}, {}
    try:
        return parameters, get_type_hints(owner.__init__ if inspect.isclass(owner) else owner)
    except Exception:  # types that another package imports for its type checker only
        return parameters, {}


def _takes_null(parameter: inspect.Parameter, hint: Any) -> bool:
    return parameter.default is None or hint in (None, Any) or type(None) in _types(hint)


def _types(hint: Any) -> Iterable[Any]:
    yield hint
    for part in get_args(hint):
        yield from _types(part)


def _instead(parameter: inspect.Parameter | None) -> str:
    default = None if parameter is None else parameter.default
    plain = isinstance(default, bool | int | float | str) and default is not None
    return f": leave it out for {default}" if plain else ": leave it out for the default"


def _imported(path: str) -> Any:
    """A class that the parser has imported; None for any other text."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)
