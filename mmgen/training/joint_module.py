"""Training of one backbone on several modalities, each with embeddings, conditioning and head of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmgen.core.errors import UserError, nearest
from mmgen.core.facts import Facts
from mmgen.model.backbone import Transformer
from mmgen.model.conditions import ConditionFactory
from mmgen.model.embeddings.positions import PositionKind
from mmgen.model.heads import HeadFactory
from mmgen.paradigms import Paradigm
from mmgen.training.generator_module import GeneratorModule, compile_blocks
from mmgen.training.optim import FusedAdamW, OptimizerFactory, SchedulerFactory, TrainedModule, WarmupCosine
from mmgen.training.sharded import shard


@dataclass(frozen=True)
class Member:
    """How one modality is generated over the shared backbone, as `GeneratorModule` takes it.

    Args:
        paradigm: how its tokens are corrupted, what the loss is, how they are sampled.
        weight: of its loss, against the other members'.
        conditions: name -> how that condition is read; None for all that its data brings, {} for none.
        positions: absolute position table added to its tokens, beside the backbone's rotary positions.
        head: the output end; by default that of the token kind.
    """

    paradigm: Paradigm
    weight: float = 1.0
    conditions: dict[str, ConditionFactory] | None = None
    positions: PositionKind = "learned"
    head: HeadFactory | None = None


class JointModule(TrainedModule):
    """Trains a `Generator` a modality, all over the same backbone; each is sampled alone, as RUN/MEMBER.

    Every step runs the backbone once for each member, over its rows alone. The loss is the mean of theirs, by their
    weights. The command line takes `facts` from the data module (`JointData`), and `seed` from `seed_everything`.

    Args:
        facts: member -> what its data says of its tokens; None for data without members.
        seed: keys all randomness of training, together with epoch, sample number and name of the draw.
        backbone: the transformer; its `rope` must suit all members, as (2, 1, 1) does sequences and images.
        members: a name a modality, and how it is generated; the names of the data's members.
        optimizer: a class of torch.optim, or of `mmgen.training`, and its arguments; parameters that should not decay
            are never decayed.
        lr_scheduler: a class of torch.optim.lr_scheduler, or of `mmgen.training`, and its arguments; stepped with the
            optimizer.
        compile: compile the backbone's blocks (`torch.compile`): slower to start, quicker afterwards.

    Raises:
        UserError: a member without data, or data without a member; a name that no folder could have; data that holds no
            tokens; a weight that is not positive.
    """

    def __init__(
        self,
        facts: dict[str, Facts] | None,
        seed: int,
        backbone: Transformer,
        members: dict[str, Member],
        optimizer: OptimizerFactory = lambda params: FusedAdamW(params, lr=1e-3, weight_decay=0.05),
        lr_scheduler: SchedulerFactory = lambda optimizer: WarmupCosine(optimizer, warmup_steps=100),
        compile: bool = False,
    ) -> None:
        super().__init__()
        facts = facts if isinstance(facts, dict) else {}
        _require_data(members, facts)
        self.members = nn.ModuleDict(
            {name: _module(name, facts[name], seed, backbone, members[name]) for name in members}
        )
        total = sum(member.weight for member in members.values())
        self.shares = {name: member.weight / total for name, member in members.items()}
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        if compile:
            compile_blocks(backbone)

    def parts(self) -> Iterator[tuple[str, GeneratorModule]]:
        """The members, by name."""
        for name, member in self.members.items():
            yield name, cast(GeneratorModule, member)

    @property
    def backbone(self) -> Transformer:
        """The transformer that all members share."""
        return next(member.generator.backbone for _, member in self.parts())

    def training_step(self, batch: dict[str, dict[str, Any]], index: int) -> Tensor:
        """Mean of the members' mean losses, nats per token, by their weights."""
        weighted = []
        for name, member in self.parts():
            losses = member.losses(batch[name])
            mean = torch.cat(list(losses.values())).mean()
            weighted.append(self.shares[name] * mean)
            self.log_dict({f"train/{name}/{mode}": each.detach().mean() for mode, each in losses.items() if len(each)})
            self.log(f"train/{name}/loss", mean.detach(), prog_bar=True)
        loss = torch.stack(weighted).sum()
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def measure(self, stage: str, batch: dict[str, dict[str, Any] | None]) -> None:
        """Every mode's loss over the whole validation set of its member, always with the same corruption."""
        for name, member in self.parts():
            part = batch[name]
            if part is not None:
                means, rows = member.measures(part), len(part["sample"])
                means["loss"] = torch.stack(list(means.values())).mean()
                named = {f"{stage}/{name}/{mode}": mean for mode, mean in means.items()}
                self.log_dict(named, batch_size=rows, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """The mean over members, each of which counts the same, however many samples it has."""
        self._conclude("val")

    def on_test_epoch_end(self) -> None:
        """As validation."""
        self._conclude("test")

    def _conclude(self, stage: str) -> None:
        means = [self.trainer.callback_metrics[f"{stage}/{name}/loss"] for name in self.members]
        self.log(f"{stage}/loss", torch.stack(means).mean(), sync_dist=True, prog_bar=True)

    def configure_model(self) -> None:
        """Spreads the weights over the devices, under `mmgen.training.sharded.FSDP`."""
        shard(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the data told each member's generator, so that it can be rebuilt without the data."""
        checkpoint["mmgen"] = {"members": {name: member.facts.to_dict() for name, member in self.parts()}}

    def work(self, batch: dict[str, dict[str, Any]]) -> int:
        """Tokens in a batch, of all members."""
        return sum(member.work(batch[name]) for name, member in self.parts())


def _module(name: str, facts: Facts, seed: int, backbone: Transformer, member: Member) -> GeneratorModule:
    options = {option: value for option, value in vars(member).items() if option != "weight"}
    try:
        return GeneratorModule(facts, seed=seed, backbone=backbone, **options)
    except UserError as error:
        raise UserError(f"model.members.{name}: {error}") from None


def _require_data(members: dict[str, Member], facts: dict[str, Facts]) -> None:
    """Raises UserError unless the names are names, the same on both sides, and the weights positive."""
    if not members:
        raise UserError("model.members is empty: name a modality, and its paradigm")
    for name, member in members.items():
        if not name.isidentifier() or hasattr(nn.ModuleDict, name):
            raise UserError(f"model.members cannot have a member {name!r}: choose another name, of letters and digits")
        if not facts:
            raise UserError(f"model.members.{name} has no data: use JointData as data, with a member {name}")
        if name not in facts:
            known = f"{', '.join(facts)}{nearest(name, facts)}"
            raise UserError(f"model.members.{name} has no data: data.members has {known}")
        if member.weight <= 0:
            raise UserError(f"model.members.{name}.weight must be positive, got {member.weight}")
    if left := [name for name in facts if name not in members]:
        raise UserError(
            f"data.members.{left[0]} is the data of no member: model.members has {', '.join(members)}; say how it is"
            " generated, or leave it out"
        )
