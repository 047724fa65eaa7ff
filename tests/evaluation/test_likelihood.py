import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmgen.core.errors import UserError
from mmgen.core.facts import Facts
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.sources.stored import StoredImages
from mmgen.evaluation.likelihood import measure_likelihood
from mmgen.paradigms import Autoregressive, Hierarchical, MaskedCodebooks, MaskedDiffusion, Paradigm
from mmgen.store.store import Loaded
from mmgen.tokenizers import Tokenizer
from tests.worlds import GRID, PARADIGMS, SPECS, condition_of, generator

UNIFORM = MaskedDiffusion(corruption="uniform")
# Levels within a position and rows that end are of residual tokens alone; tests of the paradigms hold their chain rule.
LIKELY: dict[str, Paradigm] = {
    name: each
    for name, each in PARADIGMS.items()
    if each.likelihood is not None and not each.ends and not isinstance(each, Hierarchical | MaskedCodebooks)
}
LIKELY |= {"md4": MaskedDiffusion(), "md4-cosine": MaskedDiffusion("cosine"), "udlm": UNIFORM}


class Digits(Tokenizer):
    """Images of one channel whose pixels are the tokens."""

    def __init__(self, spec: TokenSpec) -> None:
        super().__init__()
        self.spec, self.sample_shape = spec, (1, *spec.grid[1:])
        self.register_parameter("anchor", nn.Parameter(torch.zeros(1)))

    def encode(self, x: Tensor) -> Tokens:
        return Tokens(((x + 1) * 127.5).round().long().flatten(1), self.spec.grid)

    def decode(self, tokens: Tokens) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Any:
        raise NotImplementedError


def samples(tokens: Tensor, spec: TokenSpec, labels: Tensor | None = None) -> StoredImages:
    count = len(tokens)
    labels = torch.arange(count) % 3 if labels is None else labels
    return StoredImages(tokens.to(torch.uint8).view(count, 1, *spec.grid[1:]), labels, 7 * torch.arange(count))


def loaded(paradigm: Paradigm, spec: TokenSpec, classes: int = 3, zero: bool = False) -> Loaded:
    model = generator(spec, classes)
    if zero:
        nn.init.zeros_(model.head.project.weight)
        nn.init.zeros_(model.head.project.bias)
    return Loaded(model, paradigm, Digits(spec), Facts(spec), {}, 0, Path("gen"))


def anything(spec: TokenSpec, count: int) -> Tensor:
    return torch.randint(0, spec.alphabet, (count, spec.length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("paradigm", LIKELY.values(), ids=LIKELY)
@pytest.mark.parametrize("kind", ["bits", "categorical"])
def test_an_untrained_model_takes_log_alphabet_in_every_mode(paradigm: Paradigm, kind: str) -> None:
    """One scale: under the uniform law each token is log2(alphabet) bits, whatever was hidden."""
    spec = SPECS["bits"] if kind == "bits" else TokenSpec("categorical", 5, GRID)
    data = samples(anything(spec, 200), spec)
    figures = measure_likelihood(loaded(paradigm, spec, zero=True), None, data, batch=200, draws=6)
    truth, values = math.log2(spec.alphabet) * spec.length, 9
    for end in ("", "_se"):
        assert figures[f"bits_per_image{end}"] == pytest.approx(values * figures[f"bits_per_dim{end}"], rel=1e-12)
    if isinstance(paradigm, MaskedDiffusion):  # the number of hidden tokens varies with the draw: right on average
        assert 0 < figures["bits_per_dim_se"] < 0.05 * truth / values
        assert abs(figures["bits_per_image"] - truth) < 5 * values * figures["bits_per_dim_se"]
    else:  # the weights of a row sum to one
        assert figures["bits_per_image"] == pytest.approx(truth, rel=1e-6)  # weights may be float32
        assert figures["bits_per_dim_se"] < 1e-6


def test_the_autoregressive_figure_is_the_likelihood_itself() -> None:
    """Against the product of the conditionals, from one pass for each prefix; and it depends on the class."""
    spec = TokenSpec("categorical", 5, GRID)
    model, tokens, labels = loaded(Autoregressive(), spec), anything(spec, 6), torch.tensor([0, 1, 2, 0, -1, 1])
    nats = torch.zeros(6, dtype=torch.float64)
    with torch.no_grad():
        for position in range(9):
            changed = tokens.clone()
            changed[:, position:] = 0  # the last row of the pass reads nothing from here on
            row = Autoregressive().corrupt(Tokens(changed, GRID), model.generator, None)  # type: ignore[arg-type]
            features = model.generator(row.values, row.layout, row.mask, condition_of(model.generator, labels))
            law = model.generator.head.logits(features[:, position])[:, 0].log_softmax(-1)
            nats -= law.gather(1, tokens[:, position : position + 1])[:, 0]
    figures = measure_likelihood(model, "ar", samples(tokens, spec, labels), draws=3)
    assert figures["bits_per_image"] == pytest.approx(nats.mean().item() / math.log(2), rel=1e-6)
    assert figures["bits_per_dim_se"] == pytest.approx(nats.std().item() / math.log(2) / 9 / math.sqrt(6), rel=1e-6)
    without = measure_likelihood(model, "ar", samples(tokens, spec, torch.full((6,), -1)))
    assert without["bits_per_image"] != pytest.approx(figures["bits_per_image"], rel=1e-3)


def test_draws_are_keyed_by_sample_and_shrink_the_error() -> None:
    spec = TokenSpec("categorical", 5, GRID)
    model, data = loaded(MaskedDiffusion(), spec), samples(anything(spec, 40), spec)
    figures = [measure_likelihood(model, None, data, batch=batch, draws=2) for batch in (7, 40)]
    assert figures[0] == pytest.approx(figures[1], rel=1e-9)
    assert measure_likelihood(model, None, data, draws=2, seed=1) != pytest.approx(figures[0], rel=1e-3)
    more = measure_likelihood(model, None, data, draws=40)
    assert more["bits_per_dim_se"] < 0.8 * figures[0]["bits_per_dim_se"]
    assert abs(more["bits_per_dim"] - figures[0]["bits_per_dim"]) < 5 * figures[0]["bits_per_dim_se"]


def test_a_model_without_classes_is_given_none() -> None:
    spec = TokenSpec("categorical", 5, GRID)
    model, tokens = loaded(Autoregressive(), spec, classes=0), anything(spec, 10)
    figures = [measure_likelihood(model, None, samples(tokens, spec, torch.full((10,), label))) for label in (-1, 900)]
    assert figures[0] == figures[1]


def test_mistakes_end_in_a_line() -> None:
    spec = TokenSpec("categorical", 5, GRID)
    model, data = loaded(Autoregressive(), spec), samples(anything(spec, 4), spec)
    flow = loaded(PARADIGMS["flow-4"], spec)
    empty, foreign = samples(anything(spec, 0), spec), samples(anything(spec, 2), spec, torch.tensor([0, 3]))
    bare = Loaded(model.generator, Autoregressive(), None, Facts(spec), {}, 0, Path("gen"))
    broken = loaded(Autoregressive(), spec)
    with torch.no_grad():
        broken.generator.head.project.bias[0] = torch.nan
    cases = [
        (model, "masked", data, {}, "was not trained for --mode masked"),
        (model, "ar", empty, {}, "a likelihood needs a sample"),
        (model, "ar", data, {"draws": 0}, "a likelihood needs a sample"),
        (model, "ar", foreign, {}, "the data has class 3, and gen knows classes 0 to 2"),
        (bare, "ar", data, {}, "has no tokenizer"),
        (flow, None, data, {}, "has no likelihood"),
        (broken, "ar", data, {}, "yields no finite likelihood"),
    ]
    for which, mode, given, options, words in cases:
        with pytest.raises(UserError, match=words):
            measure_likelihood(which, mode, given, **options)  # type: ignore[arg-type]
