"""Networks that evaluation trains once and keeps: their weights, beside what they were trained of and how."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from mmgen.core.errors import UserError
from mmgen.store.results import write_json

_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Kept:
    """The place of one network. What is there but damaged, or was trained otherwise, counts as nothing.

    Args:
        folder: holds model.safetensors and the file below.
        about: name of a JSON file that says what the network is.
        key: what it was trained of and how, as JSON has it; a network of another key is another network.
    """

    folder: Path
    about: str
    key: dict[str, Any]

    def read(self, module: nn.Module) -> dict[str, Any] | None:
        """What is said of the network, whose weights go to `module`; None where there is none of this key, and then the
        module's weights mean nothing.
        """
        try:
            about: dict[str, Any] = json.loads((self.folder / self.about).read_text())
            weights = (self.folder / _WEIGHTS).read_bytes()
            same = all(about[name] == value for name, value in json.loads(json.dumps(self.key)).items())
            if not same or about["sha256"] != hashlib.sha256(weights).hexdigest():
                return None
            module.load_state_dict(load(weights))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
            return None
        return about

    def prepare(self) -> None:
        """Make the folder, and remove what was there: to be called before the network is trained, not after it.

        Raises:
            UserError: the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / self.about).unlink(missing_ok=True)
        except OSError as error:
            what = self.about.removesuffix(".json")
            raise UserError(f"the {what}'s folder {self.folder} cannot be written: {error.strerror}") from None

    def write(self, module: nn.Module, **found: Any) -> None:
        """Keep a network, and what was found out about it. Raises UserError where it cannot be written."""
        weights = save(module.state_dict())
        try:
            (self.folder / _WEIGHTS).write_bytes(weights)
        except OSError as error:
            raise UserError(f"{self.folder / _WEIGHTS} cannot be written: {error.strerror}") from None
        about = self.key | found | {"torch": torch.__version__, "sha256": hashlib.sha256(weights).hexdigest()}
        write_json(self.folder / self.about, about)  # last, with the checksum: half a network is none
