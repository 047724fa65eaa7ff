"""Small networks that judge samples: trained once on the real ones, and kept in a folder."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.core.progress import progress_bar
from mmgen.media.folders import write_whole
from mmgen.store.results import write_json

_WEIGHTS = "model.safetensors"

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class TrainingRecipe:
    """How a judge is trained; a judge of another recipe is trained anew."""

    features: int = 64  # length of its feature vectors
    batch: int = 32  # samples a step
    lr: float = 3e-3  # peak of the one-cycle schedule
    weight_decay: float = 0.05  # of AdamW
    seed: int = 0  # keys the first weights, the order of the samples, augmentation and noise
    threads: int = 1  # of torch in training: the last bits depend on them, and so in the end all weights


def train_judge(module: nn.Module, losses: Iterator[Tensor], steps: int, recipe: TrainingRecipe) -> None:
    """Train a new module, which then is in evaluation mode and frozen: a pure function of the losses and the recipe, on
    any number of cores. There are `steps` losses, each computed when it is taken, with the weights of that moment.
    """
    optimizer = torch.optim.AdamW(module.train().parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=steps, pct_start=0.2)
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)  # sums are then taken in the same order whatever the number of cores
    try:
        with progress_bar(f"training {module.name}", steps) as progress:
            for step, loss in enumerate(losses, 1):
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress(step)
    finally:
        torch.set_num_threads(threads)
    module.eval().requires_grad_(False)


def load_or_train(
    folder: "JudgeFolder", make: Callable[[], Module], train: Callable[[Module], dict[str, Any]]
) -> tuple[Module, dict[str, Any]]:
    """The judge of a folder, frozen, and its record. A missing, damaged or outdated one is made, trained and written;
    `train` returns the record. Raises UserError where the folder cannot be written to.
    """
    module = make()
    if (record := folder.read(module)) is None:
        folder.prepare()
        module, started = make(), time.perf_counter()
        record = train(module)
        folder.write(module, record | {"seconds": round(time.perf_counter() - started, 2)})
    return module.eval().requires_grad_(False), record


@dataclass(frozen=True)
class JudgeFolder:
    """The folder of one judge, with model.safetensors and a JSON file of its record."""

    path: Path
    file: str
    key: dict[str, Any]  # what the judge is trained on and how

    def read(self, module: nn.Module) -> dict[str, Any] | None:
        """The record; the weights go to `module`. None without an undamaged judge of this key: the module's weights are
        then undefined.
        """
        try:
            record: dict[str, Any] = read_json(self.path / self.file)
            weights = (self.path / _WEIGHTS).read_bytes()
            same = all(record[name] == value for name, value in json.loads(json.dumps(self.key)).items())
            if not same or record["sha256"] != hashlib.sha256(weights).hexdigest():
                return None
            module.load_state_dict(load(weights))
        except (UserError, OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
            return None
        return record

    def prepare(self) -> None:
        """Make the folder and remove the record, before training. Raises UserError where that is not possible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / self.file).unlink(missing_ok=True)
        except OSError as error:
            what = self.file.removesuffix(".json")
            raise UserError(f"the {what}'s folder {self.path} cannot be written: {error.strerror}") from None

    def write(self, module: nn.Module, record: dict[str, Any]) -> None:
        """Write weights and record. Raises UserError where they cannot be written."""
        weights = save(module.state_dict())
        try:
            write_whole(self.path / _WEIGHTS, weights)
        except OSError as error:
            raise UserError(f"{self.path / _WEIGHTS} cannot be written: {error.strerror}") from None
        about = self.key | record | {"torch": torch.__version__, "sha256": hashlib.sha256(weights).hexdigest()}
        write_json(self.path / self.file, about)  # last, with the checksum: half a network is none


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global generator starts from `seed` inside, and is as it was before afterwards: for `torch.nn`'s
    initialisation and torchmetrics' subsets, which take no generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs, which are not forked here
        yield
