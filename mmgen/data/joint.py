"""Several modalities in one run: a data module a member, and at every step a batch of each."""

from typing import Any

import lightning as L
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.data.base import DataModule
from mmgen.data.sources import Batch


class JointData(L.LightningDataModule):
    """Batches of several modalities at once: member -> what its own data module brings (`DataModule`).

    Every optimiser step takes each member's own `global_batch_size` from its own endless stream. Validation reads every
    member's whole `val` split; a member that ends before the others has None in the batches that follow.

    Args:
        members: a name a modality, and its data.
        seed: keys the order of every member's training samples.

    Raises:
        UserError: no members, or one with a seed of its own.
    """

    def __init__(self, members: dict[str, DataModule], seed: int = 0) -> None:
        super().__init__()
        if not members:
            raise UserError("data.members is empty: name the data of each modality")
        for name, member in members.items():
            if member.seed not in (0, seed):
                raise UserError(f"data.members.{name}.seed follows --seed_everything: leave it out")
            member.seed = seed
        self.members = members

    @property
    def facts(self) -> dict[str, Facts]:
        """Member -> what its data says of its tokens. Loads the tokenizers."""
        return {name: member.facts for name, member in self.members.items()}

    @property
    def split(self) -> str:
        """How each member's global batch falls to devices and accumulated batches."""
        return "\n".join(f"{name}: {member.split}" for name, member in self.members.items())

    def setup(self, stage: str) -> None:
        """Sets up every member for the same trainer."""
        for member in self.members.values():
            member.trainer = self.trainer
            member.setup(stage)

    def train_dataloader(self) -> dict[str, DataLoader[Batch]]:
        """The endless batches of each member, which Lightning takes one of each at a time."""
        return {name: member.train_dataloader() for name, member in self.members.items()}

    def val_dataloader(self) -> CombinedLoader:
        """This process's share of every `val` split, in order, side by side."""
        return CombinedLoader({name: member.val_dataloader() for name, member in self.members.items()}, "max_size")

    def test_dataloader(self) -> CombinedLoader:
        """As validation: there is no third split."""
        return self.val_dataloader()

    def on_after_batch_transfer(self, batch: dict[str, Batch | None], dataloader_idx: int) -> dict[str, Batch | None]:
        """Adds each member's `tokens`, on the device."""
        return {
            name: None if part is None else self.members[name].on_after_batch_transfer(part, dataloader_idx)
            for name, part in batch.items()
        }

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Each member's position in its stream, and its facts."""
        return {name: member.state_dict() for name, member in self.members.items()}

    def load_state_dict(self, state_dict: dict[str, dict[str, Any]]) -> None:
        """Hands each member its position. Raises UserError as `require_same`."""
        self.require_same(state_dict)
        assert self.trainer is not None
        # The first member restates the trainer's count of batches for this run, for the others too.
        accumulated = {"accumulate": self.trainer.accumulate_grad_batches}
        for number, (name, member) in enumerate(self.members.items()):
            member.load_state_dict(state_dict[name] | (accumulated if number else {}))

    def require_same(self, state_dict: dict[str, dict[str, Any]]) -> None:
        """Raises UserError for a checkpoint of other members, or as theirs."""
        if state_dict.keys() != self.members.keys():
            raise UserError(
                f"the checkpoint was trained on {', '.join(state_dict)}, this run has {', '.join(self.members)}, so it"
                " could not go on from there: give the same data, or start a new run"
            )
        for name, member in self.members.items():
            try:
                member.require_same(state_dict[name])
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
