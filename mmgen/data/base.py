"""The data module: a source as Lightning wants it, in an order that neither restarts nor numbers of devices change."""

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader

from mmgen.core.console import SafeConsole
from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.encoded import encoded_spec
from mmgen.data.loader import slot_loader
from mmgen.data.sources import Batch, Samples, Source, SplitName
from mmgen.data.stream import RankBatches, Split, Stream, shares
from mmgen.store.run_paths import find_folder
from mmgen.store.store import load_tokenizer, weights_hash
from mmgen.tokenizers import Tokenizer
from mmgen.tokenizers.quantizers.base import NotFinite

_ROUNDING = 1e-2  # half precision and resampling may leave [-1, 1] by this much


class DataModule(L.LightningDataModule):
    """Batches of a source: what `mmgen.data.sources.base.Samples` says, `epoch` (B,) int64, and `tokens` (`Tokens`)
    where there is a tokenizer or tokens are stored.

    Training reads an endless stream (`mmgen.data.stream`), so the trainer needs `max_steps`. The position of what has
    been trained on, not of what has been loaded ahead, travels in checkpoints: a resumed run goes on with the very next
    sample. Validation, test and prediction read the whole `val` split in order.

    Args:
        source: the samples, such as `Digits` or `ImageFolder`, or tokens that were stored (`CachedTokens`).
        global_batch_size: samples behind one optimiser step, over all devices and accumulated batches.
        seed: keys the order of the training samples, and their augmentation.
        tokenizer: run or export folder of a trained tokenizer, which encodes `x` on the training device; None trains on
            `x`. It is neither trained nor saved with the model. Stored tokens know their own, which is loaded only to
            look at samples.
        num_workers: loading processes a device; changes no batch.
    """

    def __init__(
        self,
        source: Source,
        global_batch_size: int = 64,
        seed: int = 0,
        tokenizer: str | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self.global_batch_size = global_batch_size
        self.seed = seed
        self.tokenizer_path = tokenizer if source.spec is None else tokenizer or source.facts.tokenizer_path
        self.num_workers = num_workers
        self._tokenizer: Tokenizer | None = None
        self._tokenizer_device: torch.device | None = None
        self._restored: dict[str, Any] | None = None
        self._origin = 0  # stream position at the trainer's step 0
        self._range_checked = False

    @cached_property
    def facts(self) -> Facts:
        """What a model is told of the tokens in batches. Loads the tokenizer."""
        facts, path = self.source.facts, self.tokenizer_path
        return replace(facts, spec=self.spec, tokenizer_path=path, tokenizer_hash=self.tokenizer_hash)

    @property
    def spec(self) -> TokenSpec | None:
        """The tokens in batches; None where they hold raw samples only. Loads the tokenizer."""
        if self.source.spec is not None or self.tokenizer is None:
            return self.source.spec
        return encoded_spec(self.tokenizer, self.source, str(self.tokenizer_path))

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The frozen tokenizer, loaded on first use; None without one, or where that of stored tokens is gone.

        Raises:
            UserError: it cannot be loaded, does not fit the samples, or would decode stored tokens wrongly.
        """
        stored = self.source.spec is not None
        if self._tokenizer is None and self.tokenizer_path is not None:
            folder = find_folder(self.tokenizer_path)
            if stored and folder is None:
                return None
            loaded = load_tokenizer(folder or self.tokenizer_path)
            if stored and weights_hash(loaded) != self.source.facts.tokenizer_hash:
                raise UserError(
                    f"tokenizer {self.tokenizer_path} has changed since it made the tokens of data.source, or is"
                    " another one: leave data.tokenizer out, or run mmgen tokenize again"
                )
            encoded_spec(loaded, self.source, self.tokenizer_path)
            self._tokenizer = loaded
        return self._tokenizer

    @property
    def tokenizer_hash(self) -> str | None:
        """Hash of the tokenizer's weights, by which a generator knows it again; None without one."""
        if self.source.spec is not None:
            return self.source.facts.tokenizer_hash
        return None if self.tokenizer is None else weights_hash(self.tokenizer)

    def samples(self, split: SplitName) -> Samples:
        """The raw samples of `train` or `val`, by index; no trainer needed."""
        return self.source.samples(split)

    @property
    def split(self) -> Split:
        """How the global batch falls to devices and accumulated batches. Raises UserError if it does not divide."""
        _, ranks = self._rank()
        return Split(self.global_batch_size, ranks, 1 if self.trainer is None else self.trainer.accumulate_grad_batches)

    @property
    def stream(self) -> Stream:
        """The endless order of the training samples."""
        return self.source.stream(self.seed)

    @property
    def position(self) -> int:
        """The first position of the stream that has not been trained on."""
        steps = 0 if self.trainer is None else _steps_trained(self.trainer)
        return self._origin + steps * self.global_batch_size

    def _rank(self) -> tuple[int, int]:
        """(this process, number of processes) among those that read different data."""
        place = (None if self.trainer is None else self.trainer.distributed_sampler_kwargs) or {}
        return int(place.get("rank", 0)), int(place.get("num_replicas", 1))

    def setup(self, stage: str) -> None:
        """Checks the trainer's settings and reads the splits that `stage` needs."""
        trainer = self.trainer
        if trainer is None:
            return
        if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise UserError("the data divides itself among devices: set trainer.use_distributed_sampler to false")
        self._restored = None  # of another trainer
        if not _steps_trained(trainer):
            self._origin = 0
        if stage == "fit":
            _check_fit(trainer, self.global_batch_size, len(self.samples("train")))
            rank_zero_info(str(self.split))
            self.samples("train")
            if (report := self.source.report()) is not None and trainer.is_global_zero:
                SafeConsole().print(report)
        if self.source.spec is None and self.tokenizer_path is not None:
            assert self.tokenizer is not None  # loaded here, so that a missing one is reported before training starts
        self.samples("val")

    def train_dataloader(self) -> DataLoader[Batch]:
        """The endless batches of this process, from `position` on."""
        samples = self.samples("train")
        if self._restored is not None:
            self._resume(self._restored, len(samples))
            self._restored = None
        batches = RankBatches(self.stream, self.split, self._rank()[0], lambda: self.position, lambda: self.split)
        return slot_loader(samples, self.num_workers, batches=batches, seed=self.seed)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the whole val split, in order."""
        samples, batch = self.samples("val"), self.split.per_device
        return slot_loader(samples, self.num_workers, batches=shares(len(samples), batch, *self._rank()))

    def test_dataloader(self) -> DataLoader[Batch]:
        """As validation: there is no third split."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """As validation, but in a form whose indices Lightning can record."""
        samples, batch = self.samples("val"), self.split.per_device
        slots = [slot for share in shares(len(samples), batch, *self._rank()) for slot in share]
        return slot_loader(samples, self.num_workers, slots=slots, size=batch)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Adds `tokens`, on the device: those stored, or x encoded by the frozen tokenizer."""
        if "values" in batch:
            assert self.source.spec is not None
            values = batch.pop("values")
            values = values if values.is_floating_point() else values.long()
            batch["tokens"] = Tokens(values, self.source.spec.grid, _token_lengths(batch, self.source.spec))
            return batch
        x = batch["x"]
        if not self._range_checked:
            _check_range(x, self.source.bounded)
            self._range_checked = True
        if self.tokenizer is not None:
            if self._tokenizer_device != x.device:
                self.tokenizer.to(x.device)
                self._tokenizer_device = x.device
            tokens = self._encode(self.tokenizer, batch)
            batch["tokens"] = replace(tokens, lengths=_token_lengths(batch, self.tokenizer.spec))
        return batch

    @torch.no_grad()
    def _encode(self, tokenizer: Tokenizer, batch: Batch) -> Tokens:
        """Tokens of `x`. A batch of training that has none, because it holds NaN, is marked as `spoilt`: its step is
        skipped as any other without a finite loss.
        """
        x = batch["x"].float()
        try:
            return tokenizer.encode(x)
        except NotFinite:
            if self.trainer is None or not self.trainer.training:
                raise
            batch["spoilt"] = True
            return tokenizer.encode(torch.zeros_like(x))

    def state_dict(self) -> dict[str, Any]:
        """The position in the stream, what it means, and the facts of the data."""
        return {
            "position": self.position,
            "seed": self.seed,
            "samples": len(self.samples("train")),
            "accumulate": self.split.accumulate,
            "facts": self.facts.to_dict(),
            **self.source.order,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remembers the position until training begins, when the trainer's counters are restored too.

        Raises:
            UserError: as `require_same`.
        """
        self.require_same(state_dict)
        self._restored = dict(state_dict)

    def require_same(self, state_dict: dict[str, Any]) -> None:
        """Raises UserError unless a checkpoint with this state was trained on data of the same facts, in this order."""
        for name, value in self.source.order.items():
            if state_dict.get(name) != value:
                raise UserError(
                    f"the checkpoint was trained with data.source.{name} {state_dict.get(name)}, which orders the"
                    f" samples; this run has {value}, so it could not go on from there: give the same"
                )
        fitting = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        # A tokenizer reads no conditions, and may be measured on samples of other classes.
        ignored = () if self.spec is not None or fitting else ("conditions",)
        self.facts.require_same(state_dict["facts"], "the checkpoint", ignored)

    def _resume(self, saved: dict[str, Any], samples: int) -> None:
        if (saved["samples"], saved["seed"]) != (samples, self.seed):
            raise UserError(
                f"the checkpoint was trained on {saved['samples']} samples with seed {saved['seed']}, this run has"
                f" {samples} and {self.seed}, so it could not go on from there: give the same data, or start a new run"
            )
        if self.trainer is None:
            self._origin = saved["position"]
        else:
            _align_batches(self.trainer, saved["accumulate"])
            self._origin = saved["position"] - _steps_trained(self.trainer) * self.global_batch_size


def _steps_trained(trainer: Any) -> int:
    """Whole optimiser steps, over all epochs. Lightning counts a batch as processed before any hook that saves."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.processed // trainer.accumulate_grad_batches


def _align_batches(trainer: Any, accumulated_before: int) -> None:
    """Restates the restored count of batches for this run's accumulation, at the beginning of an optimiser step.

    Gradients are not saved, so a checkpoint from between two of the `accumulated_before` batches of a step goes back to
    the step's beginning, trainer and data alike. What a model changes in every forward pass (a codebook's moving
    average) does not go back: save at the end of a step where that matters.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress
    for counter in (batches.total, batches.current):
        steps, partial = divmod(counter.processed, accumulated_before)
        aligned = steps * trainer.accumulate_grad_batches
        # A batch that was begun and not finished (an exception) is begun again; Lightning would count its step twice.
        if aligned != counter.processed or counter.ready != counter.processed:
            # A checkpoint from the end of a batch has that batch not yet completed, by which Lightning knows to finish
            # the bookkeeping of its step; after going back there is nothing to finish.
            open_batches = 0 if partial else counter.processed - counter.completed
            counter.ready = counter.started = counter.processed = aligned
            counter.completed = aligned - open_batches


def _check_fit(trainer: Any, size: int, samples: int) -> None:
    """Raises UserError for settings that an endless, self-divided stream cannot honour; of `samples`, `size` a step."""
    limit, accumulate = trainer.limit_train_batches, trainer.accumulate_grad_batches
    if trainer.overfit_batches:
        raise UserError("trainer.overfit_batches would replace the order of the data: give few samples as data instead")
    if isinstance(limit, float) and limit != 1.0:
        raise UserError(f"trainer.limit_train_batches {limit} is a share of an endless stream: give a whole number")
    if isinstance(limit, int) and limit % accumulate and not trainer.fast_dev_run:
        raise UserError(
            f"trainer.limit_train_batches {limit} ends an epoch within an optimiser step of {accumulate} accumulated"
            f" batches: take a multiple of {accumulate}"
        )
    if isinstance(limit, int) and limit < 1:
        raise UserError(f"trainer.limit_train_batches {limit} leaves nothing to train on: leave it out")
    timed = any(isinstance(callback, Timer) for callback in trainer.callbacks)
    if trainer.max_steps == -1 and not isinstance(limit, int) and not timed:
        raise UserError("the training stream has no end: set trainer.max_steps")
    for name, epochs in (("max_epochs", trainer.max_epochs), ("min_epochs", trainer.min_epochs)):
        if epochs is not None and epochs > 0 and not isinstance(limit, int):
            steps = max(1, math.ceil(epochs * samples / size))
            raise UserError(
                f"trainer.{name} {epochs} does nothing, as training reads one endless stream: set trainer."
                f"{name.replace('epochs', 'steps')}; so often through {samples} samples are {steps} steps of {size}"
            )


def _token_lengths(batch: Batch, spec: TokenSpec) -> Tensor | None:
    """(B,) int64 tokens that a sound or a motion reaches into; None where samples have one length all."""
    return (batch["length"] + spec.stride - 1) // spec.stride if "length" in batch else None


def _check_range(x: Tensor, bounded: bool) -> None:
    """Raises UserError unless x is float and finite, and where it is bounded, in [-1, 1]."""
    if not bounded:
        if not x.is_floating_point() or not x.isfinite().all():
            raise UserError("samples must be floats and finite, and the first batch is not: look for NaN in the data")
        return
    low, high = x.min().item(), x.max().item()
    if not x.is_floating_point() or not -1 - _ROUNDING <= low <= high <= 1 + _ROUNDING:
        values = f"{str(x.dtype).removeprefix('torch.')} from {low:g} to {high:g}"
        raise UserError(f"samples must be floats in [-1, 1], the first batch is {values}: 8 bits become x / 127.5 - 1")
