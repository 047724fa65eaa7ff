from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from mmgen.apps.cli.main import main
from mmgen.modalities.image import previews as image_previews
from mmgen.modalities.image.sampling import sample_images
from mmgen.modalities.video import previews
from mmgen.modalities.video.sources.moving_digits import MovingDigits
from mmgen.paradigms import SampleOptions
from mmgen.sampling.samples import SamplingTask
from mmgen.store.store import load_generator
from mmgen.training import GeneratorModule, TokenizerModule
from mmgen.training.previews import SampleGrids
from tests.data_modules import data_module
from tests.tiny_runs import VIDEO_MIXTURE, video_run, video_tokenizer_run
from tests.training.fits import QUICK, checkpoint, fit
from tests.training.test_resume import same

MODES = list(VIDEO_MIXTURE["init_args"]["members"])
CLIPS, FRAMES, SIDE = 3, 6, 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> MovingDigits:
    """Clips that are longer than those of the tokenizer."""
    folder = tmp_path_factory.mktemp("data")
    options = MovingDigits.make_fake(folder / "digits")
    return data_module(MovingDigits, FRAMES, 1, SIDE, tokenizer=str(video_tokenizer_run(folder / "tok")), **options)


@pytest.fixture(scope="module")
def module(data: MovingDigits, tmp_path_factory: pytest.TempPathFactory) -> GeneratorModule:
    folder = tmp_path_factory.mktemp("run")
    assert data.tokenizer_path is not None
    made = load_generator(video_run(folder / "gen", Path(data.tokenizer_path), actions=0))
    backbone = made.generator.backbone
    return GeneratorModule(data.facts, 0, backbone, made.paradigm, positions="spatial").eval()


class Logger:
    """TensorBoard, as far as pictures and sounds go."""

    def __init__(self) -> None:
        self.experiment, self.images = self, dict[str, tuple[Tensor, int]]()
        self.sounds = dict[str, tuple[Tensor, int, int]]()

    def add_audio(self, name: str, sound: Tensor, step: int, sample_rate: int) -> None:
        self.sounds[name] = sound, step, sample_rate

    def add_image(self, name: str, picture: Tensor, step: int) -> None:
        self.images[name] = picture, step


def validated(folder: Path, data: Any, module: Any, main: bool = True, **options: Any) -> Logger:
    """The end of a validation at step 7."""
    callback, logger = SampleGrids(**{"count": CLIPS} | options), Logger()
    callback.put_into(folder)
    callback.on_validation_epoch_end(
        SimpleNamespace(sanity_checking=False, datamodule=data, is_global_zero=main, global_step=7, loggers=[logger]),
        module,
    )
    return logger


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("samples/*"))


def test_clips_of_every_mode_are_shown_still_and_in_motion(
    data: MovingDigits, module: GeneratorModule, tmp_path: Path
) -> None:
    logger = validated(tmp_path, data, module)
    assert files(tmp_path) == sorted(f"{mode}-0000007.{suffix}" for mode in MODES for suffix in ("gif", "png"))
    assert logger.images.keys() == {f"samples/{mode}" for mode in MODES}
    for mode in MODES:
        picture, step = logger.images[f"samples/{mode}"]
        assert step == 7
        assert 0 <= picture.min() <= picture.max() <= 1
        with Image.open(tmp_path / f"samples/{mode}-0000007.png") as sheet:
            assert sheet.height == 2 * CLIPS * (SIDE + 2) + 2  # a clip, and below what was made of it
            assert sheet.width == FRAMES * (SIDE + 2) + 2
        with Image.open(tmp_path / f"samples/{mode}-0000007.gif") as film:
            assert film.n_frames == FRAMES
            assert film.info["duration"] == 100  # the data have 10 frames a second
    before = [(tmp_path / "samples" / name).read_bytes() for name in files(tmp_path)]
    validated(tmp_path, data, module)  # always the same draws
    assert [(tmp_path / "samples" / name).read_bytes() for name in files(tmp_path)] == before


def test_what_is_made_begins_as_the_held_out_clip_does(
    data: MovingDigits, module: GeneratorModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = data.tokenizer
    assert tokenizer is not None
    monkeypatch.setattr(previews, "pair_preview", lambda *pairs: pairs)
    for _, truth, made, _ in previews.sample_previews(module, data, tokenizer, CLIPS, SampleOptions()):
        assert truth.shape == made.shape == (CLIPS, 1, FRAMES, SIDE, SIDE)
        copy = tokenizer.decode(tokenizer.encode(truth))
        torch.testing.assert_close(made[:, :, : FRAMES // 3], copy[:, :, : FRAMES // 3], atol=1e-5, rtol=0)
        assert not torch.allclose(made[:, :, FRAMES // 3 :], copy[:, :, FRAMES // 3 :], atol=1e-2)
        assert len({tuple(clip.flatten().tolist()) for clip in truth}) == CLIPS


def test_a_tokenizer_shows_its_reconstructions(
    data: MovingDigits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data.tokenizer is not None
    module = TokenizerModule(data.tokenizer)
    logger = validated(tmp_path, data, module)
    assert files(tmp_path) == ["reconstruction-0000007.gif", "reconstruction-0000007.png"]
    monkeypatch.setattr(previews, "pair_preview", lambda *pairs: pairs)
    _, truth, made, _ = previews.reconstruction_preview(module, data, CLIPS)
    torch.testing.assert_close(made, data.tokenizer.decode(data.tokenizer.encode(truth)))
    picture, _ = logger.images["samples/reconstruction"]
    torch.testing.assert_close(picture[:, 2 : 2 + SIDE, 2 : 2 + SIDE], truth[0, :, 0] / 2 + 0.5)


def test_other_processes_write_nothing_and_nothing_is_written_unasked(
    data: MovingDigits, module: GeneratorModule, tmp_path: Path
) -> None:
    assert not validated(tmp_path, data, module, main=False).images
    assert not validated(tmp_path, data, module, count=0).images
    assert not files(tmp_path)


UNDROPPED = ["--config=experiments/digits_ar", "--model.backbone.dim=16", "--model.backbone.heads=2"]
UNDROPPED += ["--model.backbone.depth=1", "--data.global_batch_size=4"]
UNDROPPED += ["--model.conditions={class: {class_path: ClassLabel, init_args: {dropout: 0}}}"]


@pytest.mark.parametrize("ema", [0, 0.9])
def test_a_grid_shows_what_sampling_draws(
    ema: float, digits: list[str], tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any option: the same weights, classes, draws, and no guidance, which this generator cannot have."""
    shown: list[Tensor] = []
    monkeypatch.setattr(
        image_previews, "_grid", lambda images, columns=10: shown.append(images) or torch.zeros(1, 8, 8)
    )
    steps = ["--trainer.max_steps=3", "--trainer.val_check_interval=3", f"--ema.decay={ema}", "--samples.count=12"]
    run = fit(tmp_path / "run", *UNDROPPED, *digits, f"--data.tokenizer={tokenizer}", *steps)
    loaded = load_generator(run)
    labels = torch.arange(12) % 10
    drawn = sample_images(SamplingTask(loaded, None, {"class": labels})).images
    torch.testing.assert_close(shown[0].float(), drawn.float(), atol=1e-5, rtol=0)


WRONG = {
    "--samples.guidance=2": "samples.guidance 2, samples.steps None: it was not trained without class",
    "--samples.steps=0": "samples.steps 0 must be at least 1",
    "--samples.count=-1": "samples.count",
}


@pytest.mark.parametrize("option", WRONG)
def test_options_are_looked_at_before_the_first_step(
    option: str, digits: list[str], tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*QUICK, "--samples.count=4", *UNDROPPED, *digits, f"--data.tokenizer={tokenizer}", "--trainer.max_steps=3"]
    assert main(["fit", *words, option, f"--run={tmp_path / 'run'}"]) == 2
    assert WRONG[option] in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_trying_the_options_changes_nothing(digits: list[str], tokenizer: Path, tmp_path: Path) -> None:
    """Neither modes nor weights: the run is the same with previews and without."""
    options = [*UNDROPPED, *digits, f"--data.tokenizer={tokenizer}", "--trainer.max_steps=3"]
    options += ["--model.backbone.dropout=0.5", "--trainer.val_check_interval=2"]
    runs = [checkpoint(fit(tmp_path / count, *options, f"--samples.count={count}")) for count in "02"]
    same(runs[0]["state_dict"], runs[1]["state_dict"])
