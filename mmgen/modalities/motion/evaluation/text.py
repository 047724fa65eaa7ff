"""Whether motions fit their texts: small encoders of words and of motions, whose vectors of a pair lie close, trained
once on the captions of the data at hand.

It is built like the evaluator of published R-precisions (Guo et al. 2022) and is not that one: its figures compare with
others of the same data only.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.data.sources import Batch, Samples, Source
from mmgen.evaluation.judges import load_or_train, seeded
from mmgen.evaluation.metrics import exact_distances
from mmgen.modalities.motion.evaluation.network import (
    AT_ONCE,
    MotionNetwork,
    MotionRecipe,
    cropped,
    judge_folder,
    motions_of,
    statistics,
    train_on_motions,
)

FOLDER = Path("runs/evaluator-motion-text")

POOL = 32
"""Motions among which a text looks for its own, as published."""

TOPS = (1, 2, 3)
"""How many guesses it has."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class TextRecipe(MotionRecipe):
    """How the evaluator is trained."""

    features: int = 128
    steps: int = 600
    shortest: float = 0.7
    words: int = 2048  # rows of the table of words; a word's row is a hash of it, so that there is no vocabulary
    word: int = 64  # numbers a word
    hidden: int = 128  # of the GRU that reads them
    shared: int = 64  # of the space where texts and motions meet
    temperature: float = 0.1  # of the softmax over the other motions and texts of a batch


class TextMotion(nn.Module):
    """A GRU over words, convolutions over motions, and a linear layer behind each, to vectors of norm 1; `mean` and
    `std` (D,) are of all features over the training data, `scores` (`r_precision_1` and so on) of the held-out real
    motions.
    """

    name = "text_motion_gru"

    def __init__(self, recipe: TextRecipe, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.recipe, self.scores = recipe, dict[str, float]()
        self.body = MotionNetwork(recipe, mean, std)
        with seeded(recipe.seed):
            self.words = nn.Embedding(recipe.words, recipe.word)
            self.reader = nn.GRU(recipe.word, recipe.hidden, batch_first=True)
            self.of_text = nn.Linear(recipe.hidden, recipe.shared)
            self.of_motion = nn.Linear(recipe.features, recipe.shared)
        self.protocol = {
            self.name: "mmgen's own evaluator, a GRU over words and convolutions over"
            f" {self.body.inputs} features (root and positions), trained on the training split of this data; not"
            " comparable with published R-precisions"
        }

    def features(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) of raw features, each on its own -> (N, recipe.shared) float64, of norm 1."""
        return self.project(self.body.features(motions)).double()

    @torch.no_grad()
    def text_features(self, captions: Sequence[str]) -> Tensor:
        """Texts -> (N, recipe.shared) float64, of norm 1, in the same space."""
        parts = [captions[start : start + AT_ONCE] for start in range(0, len(captions), AT_ONCE)]
        return torch.cat([self.read(part) for part in parts]).double()

    def project(self, features: Tensor) -> Tensor:
        """Features of the convolutions (N, recipe.features) -> (N, recipe.shared), of norm 1."""
        return F.normalize(self.of_motion(features), dim=1)

    def read(self, captions: Sequence[str]) -> Tensor:
        """Texts -> (N, recipe.shared), of norm 1; only their words count, and the order of these."""
        words = [_WORD.findall(caption.lower()) or [""] for caption in captions]
        rows = [torch.tensor([zlib.crc32(word.encode()) % self.recipe.words for word in each]) for each in words]
        packed = nn.utils.rnn.pack_sequence([self.words(row) for row in rows], enforce_sorted=False)
        return F.normalize(self.of_text(self.reader(packed)[1][0]), dim=1)

    def measure(self, motions: Sequence[Tensor], captions: Sequence[str]) -> dict[str, float]:
        """`r_precision_1`, `_2` and `_3` and `matching_score` of motions (D, T) and their texts."""
        return retrieval(self.text_features(captions), self.features(motions), captions)


def text_motion(source: Source, folder: str | Path = FOLDER) -> TextMotion:
    """The evaluator of a source's captions: read from its folder in `folder`, or trained (a minute, on one core) and
    put there. Raises UserError where the folder cannot be written to, or the source has no motions with texts.
    """
    text, recipe = source.text, TextRecipe()
    if text is None:
        raise UserError("these motions have no texts, so that no evaluator can be trained on them")

    def fit(evaluator: TextMotion) -> dict[str, Any]:
        train(evaluator, source.samples("train"), text)
        held_out = source.samples("val")
        batches = list(held_out.batches(AT_ONCE))
        motions = [motion for batch in batches for motion in motions_of(batch)]
        captions = [caption for batch in batches for caption in captions_of(batch, text)]
        return {"scores": evaluator.measure(motions, captions), "held_out": len(held_out)}

    place = judge_folder(source, recipe, folder, "evaluator.json")
    evaluator, record = load_or_train(place, lambda: TextMotion(recipe, *statistics(source)), fit)
    evaluator.scores = record["scores"]
    return evaluator


def train(evaluator: TextMotion, training: Samples, text: Text) -> None:
    """Train a new evaluator on motions with captions: each text is to find its motion among those of the batch, and
    each motion its text (InfoNCE, van den Oord et al. 2018). Motions of the same text do not count against one another.
    """

    def loss(batch: Batch, draws: Draws) -> Tensor:
        captions = captions_of(batch, text)
        parts = cropped(batch, draws, evaluator.recipe.shortest)
        texts, motions = evaluator.read(captions), evaluator.project(evaluator.body(*parts, draws))
        close = texts @ motions.T / evaluator.recipe.temperature
        number = {caption: place for place, caption in enumerate(captions)}
        same = torch.tensor([number[caption] for caption in captions])
        rivals = (same[:, None] == same) & ~torch.eye(len(same), dtype=torch.bool)
        close, own = close.masked_fill(rivals, -torch.inf), torch.arange(len(same))
        return (F.cross_entropy(close, own) + F.cross_entropy(close.T, own)) / 2

    train_on_motions(evaluator, loss, training, evaluator.recipe)


def captions_of(batch: Batch, text: Text) -> list[str]:
    """The texts of a batch, in characters."""
    return [text.decode(row) for row in batch["text"]]


def pool_words(count: int) -> str:
    """The protocol of R-precision over so many motions."""
    pool = min(count, POOL)
    chance = ", ".join(f"{min(1.0, top / pool):.2g}" for top in TOPS)
    return f"own motion among the nearest of {pool}, by chance {chance}; motions of equal texts do not compete"


def retrieval(texts: Tensor, motions: Tensor, captions: Sequence[str], pool: int = POOL) -> dict[str, float]:
    """How well texts (N, F) find their motions (N, F) in the space that they share.

    Every text looks for its own motion by Euclidean distance among `pool` of them, in order; motions of the same
    caption do not count against one another, and those at the same distance do. Those that fill no pool are left out,
    unless there is none that is full.

    Returns:
        `r_precision_1`, `_2` and `_3`: share of texts whose own motion is among the nearest 1, 2 and 3; by chance these
        are k / pool. `matching_score`: mean distance of a text and its motion.
    """
    pool = min(pool, len(texts))
    ranks = []
    for start in range(0, len(texts) - pool + 1, pool):
        rows = slice(start, start + pool)
        distances = exact_distances(texts[rows].double(), motions[rows].double())
        same = torch.tensor([[one == other for other in captions[rows]] for one in captions[rows]])
        before = (distances <= distances.diagonal()[:, None]) & ~same
        ranks.append(before.sum(1))
    rank = torch.cat(ranks)
    scores = {f"r_precision_{top}": (rank < top).double().mean().item() for top in TOPS}
    return scores | {"matching_score": (texts - motions).double().norm(dim=1).mean().item()}
