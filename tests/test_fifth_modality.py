"""A fifth modality, defined here and registered with one call, goes through the ordinary commands."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmgen.apps.cli.main import main
from mmgen.core.modality import Modality, register
from mmgen.core.tokens import Tokens, TokenSpec
from mmgen.data.sources import Batch, Samples, Source
from mmgen.evaluation.command import EvaluationCommand, Metric, metric_rows
from mmgen.evaluation.reference import Reference
from mmgen.sampling.command import SamplingCommand
from mmgen.sampling.preview import Preview
from mmgen.sampling.request import SamplingRequest
from mmgen.sampling.samples import Samples as DrawnTokens
from mmgen.store.store import load_generator
from mmgen.tokenizers import Reconstruction, Tokenizer
from mmgen.training.held_out import held_out_batch, sample_held_out

BEATS = 8
FIT = f"""--data DataModule --data.source {__name__}.RhythmSource --data.global_batch_size 8 --trainer.logger false
    --trainer.val_check_interval 30 --trainer.max_steps 60 --trainer.accelerator cpu"""
GENERATOR = """--model GeneratorModule --model.paradigm Autoregressive --model.backbone Transformer --run gen
    --model.backbone.dim 16 --model.backbone.depth 1 --model.backbone.heads 2 --data.tokenizer tok
    --model.optimizer torch.optim.Adam --model.optimizer.lr 0.02"""
TOKENIZER = f"--model TokenizerModule --model.tokenizer {__name__}.RhythmTokenizer --run tok"


def preview(caption: str, rows: Tensor, **more: Any) -> Preview:
    return Preview(caption, pictures=[rows.detach().float().reshape(1, -1, BEATS)], **more)


class Rhythms(Samples):
    def __init__(self, numbers: range) -> None:
        self.numbers = torch.tensor(numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: Tensor) -> Batch:
        sample = self.numbers[index]
        beat = torch.arange(BEATS) % (2 + 2 * (sample[:, None] % 2)) == 0
        return {"x": (2.0 * beat - 1)[:, None], "label": sample % 2, "sample": sample}


class RhythmSource(Source):
    class_names, sample_shape = ["fast", "slow"], (1, BEATS)

    def samples(self, split: str) -> Samples:
        return Rhythms(range(40) if split == "train" else range(40, 60))


class RhythmTokenizer(Tokenizer):
    def __init__(self) -> None:
        super().__init__()
        self.sample_shape, self.spec = (1, BEATS), TokenSpec("categorical", 2, (BEATS, 1, 1), modality="rhythm")
        self.loudness = nn.Parameter(torch.tensor(0.5))

    def encode(self, x: Tensor) -> Tokens:
        return Tokens((self.check_samples(x)[:, 0] > 0).long(), (BEATS, 1, 1))

    def decode(self, tokens: Tokens) -> Tensor:
        return (self.loudness * (2.0 * self.check_tokens(tokens)[:, None] - 1)).detach().clamp(-1, 1)

    def forward(self, x: Tensor) -> Reconstruction:
        return Reconstruction(self.loudness * (2.0 * (x > 0) - 1), self.encode(x), {})


class RhythmSampling(SamplingCommand):
    modality, batch = "rhythm", 64

    def __init__(self, loaded: Any, arguments: dict[str, Any]) -> None:
        super().__init__(loaded, arguments)
        self.task = self.make_task(arguments["num"] or 4)

    def sample(self) -> DrawnTokens:
        ((rows, states),) = self.task.run()
        *_, state = states
        return DrawnTokens(**self.task.totals([(rows, state)], 1.0))

    def write(self, folder: Path) -> dict[str, Any]:
        rows = ["".join(self.arguments["sign"] if beat else "." for beat in row) for row in self.samples.tokens]
        (folder / "rhythms.txt").write_text("\n".join(rows))
        return {"samples": len(rows), **self.samples.record()}


class RhythmEvaluation(EvaluationCommand):
    def tokenizer(self, saved: Any, tokenizer: Any) -> Any:
        return self._rows(saved, tokenizer, Metric("psnr_db", -20 * (1 - tokenizer.loudness).abs().log10().item()))

    def generator(self, saved: Any, loaded: Any, options: Any) -> Any:
        (sampling := RhythmSampling(loaded, self.arguments | {"num": 20})).draw()
        truth = RhythmTokenizer().encode(Rhythms(range(2)).take(sampling.labels)["x"]).values
        right = (sampling.samples.tokens == truth).all(1).double().mean().item()
        return self._rows(saved, loaded.generator, Metric("class_accuracy", right, "rule"))

    def _rows(self, saved: Any, network: Any, metric: Metric) -> Any:
        reference = Reference.held_out(self.source(saved))
        return metric_rows(
            [metric, Metric("swing", 0.5, better="higher")], reference, network, "rhythms", samples=20
        ), reference


class RhythmModality(Modality):
    name, plural, unit, fills_end = "rhythm", "rhythms", "beats", True
    sample_options = make_dataclass("RhythmOptions", [("sign", str, "x")])

    def sample(self, loaded: Any, arguments: dict[str, Any]) -> RhythmSampling:
        return RhythmSampling(loaded, arguments)

    def stream(self, loaded: Any, request: SamplingRequest, every: float) -> Iterator[Preview]:
        ((_, states),) = request.task(loaded).run()
        for state in states:
            done = state.committed.double().mean().item()
            yield preview("so far", state.tokens, progress=done, last=done == 1)

    def evaluation(self) -> type[EvaluationCommand]:
        return RhythmEvaluation

    def reconstruction_preview(self, module: Any, data: Any, count: int) -> Preview:
        return preview("reconstruction", module.tokenizer(data.samples("val").take(torch.arange(count))["x"]).x)

    def sample_previews(self, module: Any, data: Any, tokenizer: Any, count: int, options: Any) -> Iterator[Preview]:
        for mode, state in sample_held_out(module, held_out_batch(module, data, count), options):
            yield preview(mode, state.tokens)


def test_it_goes_through_every_command(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mmgen.core.modality._MODALITIES", {})
    register(RhythmModality())
    for module in (TOKENIZER, GENERATOR):
        assert main(shlex.split(f"fit {FIT} {module}")) == 0
    assert Path("tok/samples/reconstruction-0000030.png").is_file() and Path("gen/samples/ar-0000060.png").is_file()
    assert main(["sample", "gen", "--sign", "o", "--num", "6", "--out", "gen/samples/out"]) == 0
    rows = Path("gen/samples/out/rhythms.txt").read_text().splitlines()
    assert len(rows) == 6 and {len(row) for row in rows} == {BEATS} and set("".join(rows)) <= set("o.")
    assert main(["sample", "gen", "--film"]) == 2
    assert "--film is for images, and gen is of rhythms" in capsys.readouterr().err
    commands = ("evaluate tok", "evaluate gen --out figures", "report gen --out page")
    assert not any(main(line.split()) for line in commands)
    assert json.loads(Path("figures").read_text())[0]["value"] > 0.8 and "rhythms.txt" in Path("page").read_text()
    *partial, last = RhythmModality().stream(load_generator("gen"), SamplingRequest("ar", count=2), 0)
    assert len(partial) == BEATS and last.last and last.progress == 1
