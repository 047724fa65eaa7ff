"""How much of the vocabulary is used, by known frequencies, and in the logs of a training."""

import csv
from pathlib import Path

import pytest
import torch

from mmgen.core.tokens import TokenSpec
from mmgen.tokenizers.code_usage import code_figures
from tests.training.fits import TOKENIZER, fake, fit


@pytest.mark.parametrize(
    "spec", [TokenSpec("categorical", 16, (1, 2, 2)), TokenSpec("bits", 4, (1, 2, 2))], ids=lambda s: s.kind
)
def test_code_figures_of_known_frequencies(spec: TokenSpec) -> None:
    uniform = code_figures(torch.arange(16).repeat(4).view(16, 4), spec)
    assert uniform == pytest.approx({"code_usage": 1, "code_perplexity": 16})
    assert code_figures(torch.full((16, 4), 7), spec) == pytest.approx({"code_usage": 1 / 16, "code_perplexity": 1})
    half = code_figures(torch.tensor([[0, 0, 1, 2]]), spec)  # frequencies 1/2, 1/4, 1/4: 1.5 bits
    assert half == pytest.approx({"code_usage": 3 / 16, "code_perplexity": 2**1.5})


def test_code_figures_of_residual_codes_are_the_mean_over_levels() -> None:
    spec = TokenSpec("residual", 16, (1, 2, 2), levels=2)
    levels = [torch.arange(16).view(4, 4), torch.full((4, 4), 3)]
    assert code_figures(torch.stack(levels, -1), spec) == pytest.approx(
        {"code_usage": (1 + 1 / 16) / 2, "code_perplexity": (16 + 1) / 2}
    )


def test_a_training_logs_the_usage_of_its_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the codes that it just made; here all are the same, as after a collapse."""
    from mmgen.tokenizers.quantizers import BSQ

    quantize = BSQ.quantize
    monkeypatch.setattr(BSQ, "quantize", lambda self, z: quantize(self, torch.ones_like(z) + 0 * z))
    options = ["--data.global_batch_size=4", "--trainer.max_steps=1", "--trainer.logger=true"]
    run = fit(tmp_path / "run", *TOKENIZER, *fake(tmp_path / "data"), *options)
    (file,) = (run / "logs" / "csv").rglob("metrics.csv")
    with file.open() as opened:
        row = next(csv.DictReader(opened))
    assert float(row["train/code_usage"]) == 1 / 256
    assert float(row["train/code_perplexity"]) == pytest.approx(1)
