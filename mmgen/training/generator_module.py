"""Training of a generator: any paradigm over any backbone, on tokens that the data module brings."""

from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.data.conditions import batch_conditions
from mmgen.model.backbone import Transformer
from mmgen.model.backbone.block import Block
from mmgen.model.conditions import ConditionFactory, build_conditions, unread
from mmgen.model.embeddings.positions import PositionKind
from mmgen.model.generator import Generator
from mmgen.model.heads import HeadFactory
from mmgen.paradigms import Paradigm
from mmgen.training.optim import FusedAdamW, OptimizerFactory, SchedulerFactory, TrainedModule, WarmupCosine
from mmgen.training.sharded import is_sharded, shard
from mmgen.training.validation import counted_tokens, validation_losses


class GeneratorModule(TrainedModule):
    """Trains a `Generator`; knows neither its paradigm nor its backbone.

    The command line takes `facts` from the data module, and `seed` from `seed_everything`.

    Args:
        facts: what the data says of its tokens, kept with the checkpoint; None for data that has several members.
        seed: keys all randomness of training, together with epoch, sample number and name of the draw.
        backbone: the transformer.
        paradigm: how tokens are corrupted, what the loss is, how they are sampled.
        conditions: name -> how that condition is read, such as `ClassLabel`; None for all that the data brings, {} for
            none.
        positions: absolute position table added to the tokens, beside the backbone's rotary positions.
        head: the output end, such as `BitsHead` with groups of another size; by default that of the token kind.
        optimizer: a class of torch.optim, or of `mmgen.training`, and its arguments; parameters that should not decay
            are never decayed.
        lr_scheduler: a class of torch.optim.lr_scheduler, or of `mmgen.training`, and its arguments; stepped with the
            optimizer.
        compile: compile the backbone's blocks (`torch.compile`): slower to start, quicker afterwards.

    Raises:
        UserError: the batches hold no tokens.
    """

    def __init__(
        self,
        facts: Facts | None,
        seed: int,
        backbone: Transformer,
        paradigm: Paradigm,
        conditions: dict[str, ConditionFactory] | None = None,
        positions: PositionKind = "learned",
        head: HeadFactory | None = None,
        optimizer: OptimizerFactory = lambda params: FusedAdamW(params, lr=1e-3, weight_decay=0.05),
        lr_scheduler: SchedulerFactory = lambda optimizer: WarmupCosine(optimizer, warmup_steps=100),
        compile: bool = False,
    ) -> None:
        super().__init__()
        spec = facts.spec if isinstance(facts, Facts) else None
        if facts is None or spec is None:
            raise UserError(
                "a generator trains on tokens: name a trained tokenizer as data.tokenizer, or use CachedTokens as data"
                " (JointData goes with JointModule)"
            )
        conditions_read = build_conditions(conditions, facts.conditions, spec, backbone.dim)
        if ignored := unread(conditions_read, facts.conditions):
            rank_zero_info(f"{', '.join(ignored)} of the data is read by no condition of the model (model.conditions)")
        parts = paradigm.parts(spec, backbone)
        self.generator = Generator(spec, backbone, conditions_read, positions, head, parts, paradigm.starts)
        paradigm.require(self.generator)
        self._outside_blocks = outside_blocks(self.generator)
        self.paradigm, self.seed = paradigm, seed
        self.facts = facts
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        if compile:
            compile_blocks(backbone)

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Each training sample's loss, nats per token, by the mode that it was given to."""
        draws = Draws(self.seed, batch["sample"], batch["epoch"])
        conditions = self.generator.conditions
        values = conditions.drop(batch_conditions(self.generator, batch), draws)
        condition = conditions(values, len(batch["sample"]), draws)
        tokens = counted_tokens(self.paradigm, batch)
        losses = self.paradigm.losses(self.generator, tokens, condition, draws)
        if is_sharded(self.generator):
            # Devices gather blocks together, so that each has to run them as often as the others: one without a sample
            # for a member of a mixture runs that member too, and counts none of it.
            first = torch.zeros(1, dtype=torch.int64, device=batch["sample"].device)
            for mode in self.paradigm.modes().keys() - losses.keys():
                rows = tokens.rows(first), condition.rows(first), draws.rows(first)
                idle = self.paradigm.modes()[mode].losses(self.generator, *rows)
                losses[mode] = torch.cat(list(idle.values()))[:0]
        nothing = zero_loss_over_parameters(self._outside_blocks)
        if batch.get("spoilt"):  # see DataModule: its samples have no tokens
            nothing = nothing * torch.nan
        return {mode: each + nothing for mode, each in losses.items()}

    def measures(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Every mode's mean loss over a batch, nats per token, always with the same corruption."""
        modes = self.paradigm.modes()
        return {mode: validation_losses(self.generator, modes[mode], batch).mean() for mode in modes}

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        """Mean loss over the batch, nats per token."""
        losses = self.losses(batch)
        loss = torch.cat(list(losses.values())).mean()
        self.log_dict({f"train/{mode}": each.detach().mean() for mode, each in losses.items() if len(each)})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def measure(self, stage: str, batch: dict[str, Any]) -> None:
        """Every mode's loss over the whole validation set, always with the same corruption."""
        means, rows = self.measures(batch), len(batch["sample"])
        self.log_dict({f"{stage}/{mode}": mean for mode, mean in means.items()}, batch_size=rows, sync_dist=True)
        loss = torch.stack(list(means.values())).mean()
        self.log(f"{stage}/loss", loss, batch_size=rows, sync_dist=True, prog_bar=True)

    def configure_model(self) -> None:
        """Spreads the weights over the devices, under `mmgen.training.sharded.FSDP`."""
        shard(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the data told the generator, so that it can be rebuilt without the data."""
        checkpoint["mmgen"] = self.facts.to_dict()

    def work(self, batch: dict[str, Any]) -> int:
        """Tokens in a batch."""
        return batch["tokens"].values.shape[:2].numel()


def compile_blocks(backbone: Transformer) -> None:
    """Compile a backbone's blocks in place, so that the state dict keeps its names, and for any number of rows, since a
    mixture's vary at every step.
    """
    for block in backbone.blocks:
        block.compile(dynamic=True)


def outside_blocks(module: nn.Module) -> list[nn.Module]:
    """The parts that are in no block of a backbone; blocks are always used whole."""
    within = {id(part) for each in module.modules() if isinstance(each, Block) for part in each.modules()}
    return [each for each in module.modules() if id(each) not in within]


def zero_loss_over_parameters(parts: list[nn.Module]) -> Tensor:
    """A scalar 0 on which every trainable parameter of some modules, not of what is in them, has a bearing.

    Which parameters a batch needs may depend on its samples (a mask token, a table of a condition). Processes that sum
    gradients have to agree on whose, or DDP would wait for ever for one that another process has no use for.
    """
    own = [each for part in parts for each in part.parameters(recurse=False) if each.requires_grad]
    return 0 * torch.stack([each.sum() for each in own]).sum()
