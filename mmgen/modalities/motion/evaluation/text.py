"""Whether motions fit their texts: two small encoders, of words and of motions, whose vectors of what belongs together
lie close, trained once on the captions of the data at hand, and kept.

It is built like the evaluator of published R-precisions (Guo et al. 2022) and is not that one: figures carry its own
name, and can be compared with others of the same data only.
"""

import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.progress import progress_bar
from mmgen.data.sources import Batch, Samples, Source
from mmgen.evaluation.torch_state import seeded
from mmgen.modalities.motion.evaluation.metrics import POOL, TOPS, retrieval
from mmgen.modalities.motion.evaluation.network import (
    AT_ONCE,
    MotionNetwork,
    Recipe,
    cropped,
    fit,
    kept_network,
    motions_of,
    statistics,
)

FOLDER = Path("runs/evaluator-motion-text")

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class TextRecipe(Recipe):
    """How the evaluator is trained.

    Args:
        words: rows of the table of words; a word's row is a hash of it, so that there is no vocabulary.
        word: numbers a word.
        hidden: of the GRU that reads them.
        shared: of the space where texts and motions meet.
        temperature: of the softmax over the other motions and texts of a batch.
    """

    features: int = 128
    steps: int = 600
    shortest: float = 0.7
    words: int = 2048
    word: int = 64
    hidden: int = 128
    shared: int = 64
    temperature: float = 0.1


class TextMotion(nn.Module):
    """A GRU over words, convolutions over motions, and a linear layer behind each, to vectors of norm 1. Always in
    evaluation mode once trained.

    Args:
        recipe: sizes.
        mean: (D,) of all features over the training data.
        std: (D,) likewise.

    Attributes:
        found: `r_precision_1` and so on of the held-out real motions: how far it can be trusted itself.
    """

    name = "text_motion_gru"

    def __init__(self, recipe: TextRecipe, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.recipe, self.found = recipe, dict[str, float]()
        self.body = MotionNetwork(recipe, mean, std)
        with seeded(recipe.seed):
            self.words = nn.Embedding(recipe.words, recipe.word)
            self.reader = nn.GRU(recipe.word, recipe.hidden, batch_first=True)
            self.of_text = nn.Linear(recipe.hidden, recipe.shared)
            self.of_motion = nn.Linear(recipe.features, recipe.shared)
        self.protocol = {
            self.name: "mmgen's own evaluator, a GRU over words and convolutions over"
            f" {self.body.seen} features (root and positions), trained on the training split of this data; not"
            " comparable with published R-precisions"
        }

    def features(self, motions: Sequence[Tensor]) -> Tensor:
        """Motions (D, T) of raw features, each on its own -> (N, recipe.shared) float64, of norm 1."""
        return self.placed(self.body.features(motions)).double()

    @torch.no_grad()
    def text_features(self, captions: Sequence[str]) -> Tensor:
        """Texts -> (N, recipe.shared) float64, of norm 1, in the same space."""
        parts = [captions[start : start + AT_ONCE] for start in range(0, len(captions), AT_ONCE)]
        return torch.cat([self.read(part) for part in parts]).double()

    def placed(self, features: Tensor) -> Tensor:
        """What the convolutions make of motions (N, recipe.features), in the shared space."""
        return F.normalize(self.of_motion(features), dim=1)

    def read(self, captions: Sequence[str]) -> Tensor:
        """Texts in the shared space; only their words count, and the order of these."""
        rows = [torch.tensor(self._rows(caption)) for caption in captions]
        vectors = [self.words(row) for row in rows]
        packed = nn.utils.rnn.pack_sequence(vectors, enforce_sorted=False)
        return F.normalize(self.of_text(self.reader(packed)[1][0]), dim=1)

    def measure(self, motions: Sequence[Tensor], captions: Sequence[str]) -> dict[str, float]:
        """`r_precision_1`, `_2` and `_3` and `matching_score` of motions (D, T) and their texts."""
        return retrieval(self.text_features(captions), self.features(motions), captions)

    def _rows(self, caption: str) -> list[int]:
        words = _WORD.findall(caption.lower()) or [""]
        return [zlib.crc32(word.encode()) % self.recipe.words for word in words]


def text_motion(source: Source, folder: str | Path = FOLDER) -> TextMotion:
    """The evaluator of a source's captions: read from its folder, or trained (a minute, on one core) and put there.

    Args:
        source: motions with texts.
        folder: holds a folder a data set. What was trained otherwise, or is damaged, is replaced.

    Raises:
        UserError: the folder cannot be written to, or the source is of no motions, or of none with a text.
    """
    if source.text is None:
        raise UserError("these motions have no texts, so that no evaluator can be trained on them")
    recipe, (mean, std) = TextRecipe(), statistics(source)
    kept, evaluator = kept_network(source, recipe, Path(folder), "evaluator.json"), TextMotion(recipe, mean, std)
    about = kept.read(evaluator)
    if about is not None:
        evaluator.found = about["found"]
        return evaluator.eval().requires_grad_(False)
    kept.prepare()
    started, training, held_out = time.perf_counter(), source.samples("train"), source.samples("val")
    evaluator = TextMotion(recipe, mean, std)
    with progress_bar("training the evaluator of texts and motions", recipe.steps) as bar:
        train(evaluator, training, source.text, bar)
    batches = list(held_out.batches(AT_ONCE))
    motions = [motion for batch in batches for motion in motions_of(batch)]
    evaluator.found = evaluator.measure(
        motions, [text for batch in batches for text in captions_of(batch, source.text)]
    )
    found = {"found": evaluator.found, "held_out": len(held_out), "seconds": round(time.perf_counter() - started, 2)}
    kept.write(evaluator, **found)
    return evaluator


def train(
    evaluator: TextMotion, training: Samples, text: Text, progress: Callable[[float], None] | None = None
) -> None:
    """Train a new evaluator on motions with captions: each text is to find its motion among those of the batch, and
    each motion its text (InfoNCE, van den Oord et al. 2018). Motions of the same text do not count against one another.

    Args:
        evaluator: as it is made.
        training: motions with `text`.
        text: how that is encoded.
        progress: called after each step with the number of steps that are done.
    """

    def loss(batch: Batch, draws: Draws) -> Tensor:
        captions = captions_of(batch, text)
        parts = cropped(batch, draws, evaluator.recipe.shortest)
        texts, motions = evaluator.read(captions), evaluator.placed(evaluator.body(*parts, draws))
        close = texts @ motions.T / evaluator.recipe.temperature
        number = {caption: place for place, caption in enumerate(captions)}
        same = torch.tensor([number[caption] for caption in captions])
        rivals = (same[:, None] == same) & ~torch.eye(len(same), dtype=torch.bool)
        close, own = close.masked_fill(rivals, -torch.inf), torch.arange(len(same))
        return (F.cross_entropy(close, own) + F.cross_entropy(close.T, own)) / 2

    fit(evaluator, loss, training, evaluator.recipe, progress)


def captions_of(batch: Batch, text: Text) -> list[str]:
    """The texts of a batch, in characters."""
    return [text.decode(row) for row in batch["text"]]


def pool_words(count: int) -> str:
    """What a protocol says of R-precision over so many motions."""
    pool = min(count, POOL)
    chance = ", ".join(f"{min(1.0, top / pool):.2g}" for top in TOPS)
    return f"own motion among the nearest of {pool}, by chance {chance}; motions of equal texts do not compete"
