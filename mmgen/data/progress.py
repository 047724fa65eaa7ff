"""Where training stands in the stream, told by Lightning's own counters.

Lightning counts the batches a process has `processed` before it saves anything, in every hook that saves (end of a
batch, of a validation, of an epoch, an exception), while what a loader has handed out runs ahead of that by what is
prefetched. The count is restored with the trainer, so the position of the data is derived from it, not counted twice.

An optimiser step is indivisible: gradients are not saved. A checkpoint taken between two accumulated batches (by time,
or by a validation there) therefore goes back to the step's beginning, trainer and data alike. What a model changes in
every forward pass (a codebook's moving average) does not go back: save at the end of a step where that matters.
"""

from typing import Any


def steps_trained(trainer: Any) -> int:
    """Whole optimiser steps that the trainer has been through, over all epochs."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.processed // trainer.accumulate_grad_batches


def align_batches(trainer: Any, accumulated_before: int) -> None:
    """Restates the restored count of batches for this run's accumulation, at the beginning of an optimiser step.

    Args:
        trainer: with its loops restored.
        accumulated_before: batches a step of the run that saved.
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
