"""An autoregressive generator as the prior of a coder: the law of each token, given those before it.

Encoder and decoder need the same law to the last bit. So both take the same walk, one token after the other with cached
keys, in the same shapes. Against kernels of another machine or number of threads, the walk is in float64, and logits
are rounded to multiples of 1/256, which errors of 1e-13 almost never cross. Rounding costs less than 1e-6 nats a symbol
(half the variance of an error that is uniform over 1/256).
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from mmgen.core.errors import UserError, require
from mmgen.model.generator import Generator
from mmgen.model.heads import ChoiceHead, require_choices
from mmgen.paradigms import Autoregressive, Guidance
from mmgen.paradigms.guidance import GuidedGenerator
from mmgen.store.store import Loaded

_LOGIT_STEPS = 256  # a unit


class Prior:
    """The laws of a loaded generator's tokens, in one of its autoregressive modes.

    Args:
        loaded: its generator is copied, not changed.
        mode: name of an autoregressive mode; may be None where there is only one.

    Raises:
        UserError: there is no such mode, or tokens are continuous.
    """

    def __init__(self, loaded: Loaded, mode: str | None = None) -> None:
        self.mode = autoregressive_mode(loaded, mode)
        self.head: ChoiceHead = require_choices(loaded.generator.head, "compression")
        paradigm = loaded.paradigm.modes()[self.mode]
        assert isinstance(paradigm, Autoregressive)
        self._paradigm = paradigm
        self._generator: Generator = copy.deepcopy(loaded.generator).double()
        self._path = loaded.path

    @torch.no_grad()
    def walk(self, labels: Tensor, decide: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Tokens (b, N) int64, decided one position after the other.

        Args:
            labels: (b,) int64 class of each row, -1 for none, on the generator's device.
            decide: (position, probs (b, groups, choices) float64) -> the tokens (b,) there.

        Raises:
            UserError: the weights yield no law (NaN).
        """
        start, grid = self._generator.prefix_length, self._generator.spec.grid
        row = self._paradigm.row(self._generator, grid, labels.device)
        conditions = self._generator.conditions
        values = conditions.fill({"class": labels} if "class" in conditions else {}, len(labels))
        model = GuidedGenerator(self._generator, values, len(labels), Guidance(), capacity=row.length)
        tokens = labels.new_zeros(len(labels), self._generator.spec.length)
        last, done = tokens[:, :0], 0
        unused = torch.zeros(len(labels), device=labels.device)  # guidance would follow the progress
        for position in range(tokens.shape[1]):
            stop = start + position
            logits = model(last, row.slice(done, stop), self._paradigm.mask, unused, outputs=1)[:, 0]
            if not bool(logits.isfinite().all()):
                raise UserError(f"the weights of {self._path} yield no probabilities (NaN or infinite); train it again")
            logits = (logits * _LOGIT_STEPS).round() / _LOGIT_STEPS
            tokens[:, position] = decide(position, logits.softmax(-1))
            last, done = tokens[:, position : position + 1], stop
        return tokens


def autoregressive_mode(loaded: Loaded, mode: str | None) -> str:
    """The name of the mode whose law codes tokens. Raises UserError naming the modes where it is none that can."""
    modes = loaded.paradigm.modes()
    fit = [name for name, paradigm in modes.items() if isinstance(paradigm, Autoregressive)]
    require(bool(fit), f"{loaded.path} cannot compress: it has no autoregressive mode, only {', '.join(modes)}")
    if mode is None and len(fit) > 1:
        raise UserError(f"{loaded.path} can compress in several ways: choose --mode {' or '.join(fit)}")
    if mode is not None and mode not in fit:
        raise UserError(f"{loaded.path} cannot compress in mode {mode!r}: the ones for that are {', '.join(fit)}")
    return mode or fit[0]
