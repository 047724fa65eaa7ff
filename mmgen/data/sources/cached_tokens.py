"""Tokens that `mmgen tokenize` wrote, as a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.facts import Facts
from mmgen.core.tokens import TokenSpec
from mmgen.core.vocabulary import FrameNames, FreeText, Names
from mmgen.data.sources.base import NO_ACTION, Batch, Samples, Source, SplitName, check_split
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.shards import CAPTIONS, Meta, read_split, storage_type, write_folder


@dataclass(frozen=True, eq=False)
class TokenSamples(Samples):
    """Tokens in memory.

    Args:
        values: (n, N), (n, N, Q) or (n, N, C), of the type they are stored in.
        labels: (n,) int64.
        numbers: (n,) int64 numbers in the whole data set.
        more: further columns by name, (n, ...): `action`, `length`, `text`.
        text: how to read the last of these; None where there is none.
        captions: of each; None where they have none.
    """

    values: Tensor
    labels: Tensor
    numbers: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)
    text: Text | None = None
    captions: Captions | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor) -> Batch:
        return self._batch(index, None)

    def augmented(self, index: Tensor, epoch: Tensor, seed: int) -> Batch:
        return self._batch(index, Draws(seed, self.numbers[index], epoch))

    def _batch(self, index: Tensor, draws: Draws | None) -> Batch:
        batch: Batch = {"values": self.values[index], "label": self.labels[index], "sample": self.numbers[index]}
        batch |= {name: column[index] for name, column in self.more.items()}
        return batch if self.captions is None else batch | {"caption": self.captions.pick(index, draws)}

    def texts(self, index: Tensor) -> list[str]:
        """What is said, as the model reads it: in phonemes if it reads these."""
        return (
            super().texts(index) if self.text is None else [self.text.decode(row) for row in self.more["text"][index]]
        )


class CachedTokens(Source):
    """Both splits of a source as tokens. Only meta.json is read until samples are asked for.

    Args:
        path: a folder that `mmgen tokenize` wrote.

    Raises:
        UserError: it is no such folder.
    """

    spec: TokenSpec

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta = Meta.read(self.path)
        self.spec = self.meta.spec
        self.sample_shape = self.meta.sample_shape
        facts = self.meta.facts
        self.class_names, self.action_names, self.text = facts.class_names, facts.action_names, facts.text
        self.fps, self.sample_rate, self.more = facts.fps, facts.sample_rate, facts.more
        self._splits: dict[str, TokenSamples] = {}

    @property
    def caption_vocabulary(self) -> FreeText | None:
        found = self.meta.facts.conditions.get("caption")
        return found if isinstance(found, FreeText) else None

    @property
    def facts(self) -> Facts:
        """As they were written, the tokenizer seen from here."""
        named = self.meta.facts.tokenizer_path
        path = None if named is None else (self.path / named).resolve()
        if path is not None and path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())  # as a person would write it
        return replace(self.meta.facts, tokenizer_path=None if path is None else str(path))

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if split not in self._splits:
            columns = read_split(self.path, self.meta, split)
            captions = Captions(columns.pop(CAPTIONS)) if CAPTIONS in columns else None
            always = (columns.pop("values"), columns.pop("label"), columns.pop("sample"))
            self._splits[split] = TokenSamples(*always, more=columns, text=self.text, captions=captions)
        return self._splits[split]

    @staticmethod
    def make_fake(
        path: str | Path,
        samples: int = 20,
        spec: TokenSpec = TokenSpec("categorical", 16, (1, 4, 4)),  # noqa: B008 (frozen)
        classes: int = 10,
        actions: int = 0,
    ) -> dict[str, Any]:
        """Writes random tokens of no tokenizer, split as the digits are; returns the arguments that read them.

        Args:
            path: a folder that does not exist yet, or is empty.
            samples: of both splits, at least 2.
            spec: of the tokens.
            classes: labels go round them.
            actions: that lead to a clip's frames, where `spec` is of a video; 0 for none.
        """
        number = torch.arange(samples)
        draws = Draws(0, number)
        if spec.kind == "continuous":
            values = draws.normal("fake tokens", spec.length, spec.size)
        else:
            shape = (spec.length, spec.levels) if spec.kind == "residual" else (spec.length,)
            values = draws.uniform("fake tokens", *shape) * spec.alphabet
        columns = {"values": values.to(storage_type(spec)), "label": number % classes, "sample": number}
        timed, frames = spec.unit is not None, spec.frames(spec.grid[0])
        clips, filled = timed and not spec.fills_end, timed and spec.fills_end
        if filled:
            columns["length"] = torch.full((samples,), frames)
        if actions:
            columns["action"] = (draws.uniform("fake actions", frames) * actions).long()
            columns["action"][:, 0] = NO_ACTION
        chosen: dict[SplitName, Tensor] = {"train": number % 5 != 0, "val": number % 5 == 0}
        names = {"class": [str(label) for label in range(classes)], "actions": [f"action {n}" for n in range(actions)]}
        kinds = {"class": Names, "actions": FrameNames}
        kinds = {"class": Names, "actions": FrameNames}
        facts = Facts(
            spec,
            {name: kinds[name](tuple(each)) for name, each in names.items() if each},
            fps=10.0 if clips else 20.0 if filled else None,
        )
        meta = Meta(facts, (1, frames, 28, 28) if clips else (263, frames) if filled else (1, 28, 28))
        shards = {split: [{name: column[rows] for name, column in columns.items()}] for split, rows in chosen.items()}
        write_folder(Path(path), meta, shards)
        return {"path": str(path)}
