"""Runs on motions: statistics that are taken from the data once, pictures of what is made, and what they show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from PIL import Image

from mmgen.core.errors import UserError
from mmgen.data import DataModule
from mmgen.modalities.motion import previews
from mmgen.modalities.motion.skeleton import KIT
from mmgen.modalities.motion.tokenizers.motion import MotionTokenizer
from mmgen.model.backbone import Transformer
from mmgen.paradigms import (
    CodebookAutoregressive,
    ContinuousBlockDiffusion,
    Flow,
    MaskedCodebooks,
    Mixture,
    Paradigm,
    SampleOptions,
)
from mmgen.tokenizers.quantizers import VQ
from mmgen.training import GeneratorModule, TokenizerModule
from mmgen.training.averaging import EMA
from tests.data.training import QUIET
from tests.motion_runs import CONTINUOUS, RESIDUAL, Walks, motion_tokenizer_run
from tests.tiny_runs import scramble
from tests.training.test_previews import files, validated

MOTIONS = 2
PARADIGMS: dict[str, Callable[[], Paradigm]] = {
    "mixture": lambda: Mixture({"ar": CodebookAutoregressive(), "masked": MaskedCodebooks(steps=[2, 1])}),
    "ends": lambda: CodebookAutoregressive(ends=True),
    "continuous": lambda: ContinuousBlockDiffusion(2, Flow(), steps=2),
}


def tokenizer(**changes: Any) -> MotionTokenizer:
    torch.manual_seed(0)
    return MotionTokenizer(VQ(8, 4), **{"frames": 16, "width": 4, "dilations": (1,), **changes})


def trained(folder: Path, source: Walks, made: MotionTokenizer, steps: int, **options: Any) -> TokenizerModule:
    module, callbacks = TokenizerModule(made), options.pop("callbacks", [])
    trainer = L.Trainer(**QUIET, max_steps=steps, max_epochs=-1, limit_val_batches=0, callbacks=callbacks)
    trainer.fit(module, datamodule=DataModule(source, 4), weights_only=True, **options)
    trainer.save_checkpoint(folder / f"{steps}.ckpt")
    return module


def test_statistics_come_from_the_data_and_go_with_the_weights(tmp_path: Path) -> None:
    source = Walks()
    mean, _ = source.statistics()
    made = tokenizer()
    trained(tmp_path, source, made, 2)
    torch.testing.assert_close(made.mean, mean)
    saved = torch.load(tmp_path / "2.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(saved["tokenizer.mean"], mean)
    # The same data in other units: what the weights were trained with stays, resumed and otherwise.
    resumed = tokenizer()
    trained(tmp_path, Walks(scale=2.0), resumed, 3, ckpt_path=tmp_path / "2.ckpt")
    torch.testing.assert_close(resumed.mean, mean)
    trained(tmp_path, Walks(scale=2.0), made, 1)
    torch.testing.assert_close(made.mean, mean)


def test_the_average_has_them_too(tmp_path: Path) -> None:
    source = Walks()
    mean, _ = source.statistics()
    trained(tmp_path, source, tokenizer(), 2, callbacks=[EMA(0.9)])
    saved = torch.load(tmp_path / "2.ckpt", weights_only=True)
    assert "current_model_state" in saved
    torch.testing.assert_close(saved["state_dict"]["tokenizer.mean"], mean)


def test_training_stops_before_its_first_step_where_the_data_does_not_fit(tmp_path: Path) -> None:
    for source, message in ((Walks(skeleton=KIT), "set tokenizer.dims"), (Walks(fps=12.5), "set both alike")):
        with pytest.raises(UserError, match=message):
            trained(tmp_path, source, tokenizer(), 1)


def walks(folder: Path, quantizer: dict[str, Any] = RESIDUAL) -> DataModule:
    """Walks that are longer than those of the tokenizer, and of different lengths."""
    return DataModule(Walks(), 4, tokenizer=str(motion_tokenizer_run(folder / "tok", quantizer)))


def generator(data: DataModule, paradigm: Paradigm) -> GeneratorModule:
    backbone = Transformer(dim=16, depth=1, heads=2, rope=[1, 1, 1])
    module = GeneratorModule(data.facts, 0, backbone, paradigm, positions="none").eval()
    scramble(module.generator)
    return module


def test_a_tokenizer_shows_its_reconstructions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = walks(tmp_path)
    assert data.tokenizer is not None
    module = TokenizerModule(data.tokenizer)
    logger = validated(tmp_path, data, module, count=MOTIONS)
    assert files(tmp_path) == ["reconstruction-0000007.gif", "reconstruction-0000007.png"]
    assert logger.images.keys() == {"samples/reconstruction"}
    with Image.open(tmp_path / "samples" / "reconstruction-0000007.gif") as moving:
        assert moving.size == (2 * 192, MOTIONS * 192)  # held out and made, one below the other
    monkeypatch.setattr(previews, "pair_preview", lambda *pairs: pairs)
    _, titles, truth, made, _ = previews.reconstruction_preview(module, data, 5)
    assert {len(joints) for joints in truth} == {11, 16}
    assert all(one.shape == other.shape and one.shape[1:] == (22, 3) for one, other in zip(truth, made))
    assert set(titles) <= {"slow", "fast"}


@pytest.mark.parametrize("kind", PARADIGMS)
def test_every_mode_shows_the_classes_of_held_out_motions(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = walks(tmp_path, CONTINUOUS if kind == "continuous" else RESIDUAL)
    module, ends = generator(data, PARADIGMS[kind]()), kind == "ends"
    logger, modes = validated(tmp_path, data, module, count=MOTIONS), module.paradigm.modes()
    assert set(files(tmp_path)) == {f"{mode}-0000007{end}" for mode in modes for end in (".png", ".gif")}
    assert logger.images.keys() == {f"samples/{mode}" for mode in modes}
    assert isinstance(data.tokenizer, MotionTokenizer)
    monkeypatch.setattr(previews, "pair_preview", lambda *pairs: pairs)
    for name, _, truth, made, _ in previews.sample_previews(module, data, data.tokenizer, 5, SampleOptions(1)):
        assert name in modes
        assert {len(joints) for joints in truth} == {12, 16}  # whole tokens
        assert ends or [len(joints) for joints in made] == [len(joints) for joints in truth]
        assert all(joints.isfinite().all() and joints.shape[1:] == (22, 3) for joints in made)
