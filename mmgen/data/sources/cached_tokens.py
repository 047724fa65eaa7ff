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
from mmgen.core.vocabulary import NO_ACTION, FrameNames, FreeText, Names, Vocabulary
from mmgen.data.sources.base import Batch, Samples, Source, SplitName
from mmgen.data.sources.captions import Captions
from mmgen.data.sources.shards import CAPTIONS, Meta, read_split, storage_type, write_folder
from mmgen.data.sources.stored import StoredSamples


@dataclass(frozen=True, eq=False)
class TokenSamples(StoredSamples):
    """Tokens in memory, values (n, N), (n, N, Q) or (n, N, C).

    Args:
        more: further columns by name, (n, ...): `action`, `length`, `text`.
        text: how to read the last of these; None where there is none.
    """

    more: Mapping[str, Tensor] = field(default_factory=dict)
    text: Text | None = None

    def content(self, index: Tensor) -> Batch:
        return super().content(index) | {name: column[index] for name, column in self.more.items()}

    def texts(self, index: Tensor) -> list[str]:
        """What is said, as the model reads it: in phonemes if it reads these."""
        if self.text is None:
            return super().texts(index)
        return [self.text.decode(row) for row in self.more["text"][index]]


class CachedTokens(Source):
    """Both splits of a source as tokens. Only meta.json is read until samples are needed.

    Args:
        path: a folder that `mmgen tokenize` wrote.
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

    @property
    def caption_vocabulary(self) -> FreeText | None:
        captions = self.meta.facts.conditions.get("caption")
        return captions if isinstance(captions, FreeText) else None

    @property
    def facts(self) -> Facts:
        """As they were written, the tokenizer seen from here."""
        facts = self.meta.facts
        if facts.tokenizer_path is None:
            return facts
        path = (self.path / facts.tokenizer_path).resolve()
        if path.is_relative_to(Path.cwd()):
            path = path.relative_to(Path.cwd())  # as a person would write it
        return replace(facts, tokenizer_path=str(path))

    def load_split(self, split: SplitName) -> Samples:
        columns = read_split(self.path, self.meta, split)
        captions = Captions(columns.pop(CAPTIONS)) if CAPTIONS in columns else None
        values, labels, numbers = (columns.pop(name) for name in ("values", "label", "sample"))
        return TokenSamples(values, labels, numbers, captions, columns, self.text)

    @staticmethod
    def make_fake(
        path: str | Path,
        samples: int = 20,
        spec: TokenSpec = TokenSpec("categorical", 16, (1, 4, 4)),  # noqa: B008 (frozen)
        classes: int = 10,
        actions: int = 0,
    ) -> dict[str, Any]:
        """Random tokens of no tokenizer, one in five for validation, in a new folder; `actions` that lead to frames are
        for the `spec` of a video.
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
        clips, motions = timed and not spec.fills_end, timed and spec.fills_end
        if motions:
            columns["length"] = torch.full((samples,), frames)
        if actions:
            columns["action"] = (draws.uniform("fake actions", frames) * actions).long()
            columns["action"][:, 0] = NO_ACTION
        rows: dict[SplitName, Tensor] = {"train": number % 5 != 0, "val": number % 5 == 0}
        conditions: dict[str, Vocabulary] = {}
        if classes:
            conditions["class"] = Names(tuple(str(label) for label in range(classes)))
        if actions:
            conditions["actions"] = FrameNames(tuple(f"action {action}" for action in range(actions)))
        sample_shape = (1, frames, 28, 28) if clips else (263, frames) if motions else (1, 28, 28)
        meta = Meta(Facts(spec, conditions, fps=10.0 if clips else 20.0 if motions else None), sample_shape)
        shards = {split: [{name: column[each] for name, column in columns.items()}] for split, each in rows.items()}
        write_folder(Path(path), meta, shards)
        return {"path": str(path)}
