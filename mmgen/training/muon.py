"""Muon for the matrices within a transformer's blocks, AdamW for all else."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.optim import Muon, Optimizer

from mmgen.core.errors import UserError
from mmgen.training.optim import FusedAdamW


class MuonWithAdamW(Optimizer):
    """Muon (Jordan et al. 2024): the momentum of each hidden matrix is orthogonalised before it becomes an update.

    Embeddings, heads, gains and biases are AdamW's, as there. Updates of both have the same root mean square (Liu et
    al. 2025, "Muon is scalable for LLM training"), so that one `lr` and one `weight_decay`, as AdamW's, serve both.

    Args:
        params: groups as `parameter_groups` makes them; that of the hidden matrices is marked `hidden`.
        lr: highest learning rate, > 0.
        weight_decay: of matrices, as a share of the learning rate.
        momentum: of Muon, in [0, 1).
        betas: decay rates of AdamW's two moments, in [0, 1).

    Raises:
        UserError: the model has no hidden matrices, or they are spread over devices.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        groups: list[dict[str, Any]] = [dict(group) for group in params]
        hidden = [group for group in groups if group["hidden"]]
        others = [group for group in groups if not group["hidden"]]
        if not hidden:
            raise UserError("model.optimizer MuonWithAdamW trains matrices of a transformer: use FusedAdamW for others")
        if any(isinstance(each, DTensor) for group in hidden for each in group["params"]):
            raise UserError("model.optimizer MuonWithAdamW takes whole matrices, and FSDP spreads them: use ddp")
        self._muon = Muon(hidden, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw")
        self._adamw = FusedAdamW(others, lr, weight_decay, betas)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {"lr": lr})
        # A schedule, and a checkpoint, see one optimizer: the parts work on its groups and its state.
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        for part, hidden in ((self._muon, True), (self._adamw, False)):
            part.param_groups = [group for group in self.param_groups if group["hidden"] is hidden]
            part.state = self.state
