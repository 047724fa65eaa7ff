"""From slots of the stream to batches."""

from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_convert

from mmgen.core.errors import UserError
from mmgen.data.sources.base import Batch, Samples
from mmgen.data.stream import Slot
from mmgen.data.worker import start_worker


class LoadingError(UserError):
    """A `UserError` that stays one line on its way out of a worker, where torch puts the worker's traceback before it.

    Args:
        text: the message, or a traceback that ends with it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.strip().rsplit("\n", 1)[-1].removeprefix(f"{__name__}.{type(self).__name__}: "))


class _Slots(Dataset[Batch]):
    """Samples addressed by slot; the epoch travels with the batch, because training's randomness is keyed by it."""

    def __init__(self, samples: Samples, seed: int | None) -> None:
        self.samples, self.seed = samples, seed

    def __getitems__(self, slots: list[Slot]) -> Batch:  # torch's loader asks for a whole batch at once where it can
        epoch, index = torch.tensor(slots).unbind(1)
        try:
            batch = self.samples.take(index) if self.seed is None else self.samples.augmented(index, epoch, self.seed)
        except UserError as error:
            raise LoadingError(str(error)) from None
        return batch | {"epoch": epoch}


def slot_loader(
    samples: Samples,
    workers: int,
    *,
    batches: Sampler[list[Slot]] | list[list[Slot]] | None = None,
    slots: list[Slot] | None = None,
    size: int = 1,
    seed: int | None = None,
) -> DataLoader[Batch]:
    """A loader over `batches` of slots, finite or not, or over `slots` cut into batches of `size`.

    Args:
        samples: a split.
        workers: loading processes; 0 loads in this one. Their number changes no batch.
        batches: the batches.
        slots: in place of `batches`.
        size: slots a batch.
        seed: keys the augmentation; None gives the samples as they are.
    """
    how: dict[str, Any] = {"sampler": slots, "batch_size": size} if batches is None else {"batch_sampler": batches}
    return DataLoader(
        _Slots(samples, seed),
        num_workers=workers,
        collate_fn=default_convert,  # a batch is whole already
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # of the workers' seeds, which would otherwise come from that of training
        worker_init_fn=start_worker,
        **how,
    )
