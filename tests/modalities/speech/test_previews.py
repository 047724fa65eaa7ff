from pathlib import Path

import pytest
import torch
from PIL import Image

from mmgen.media.audio import read_audio
from mmgen.modalities.speech import previews
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.paradigms import SampleOptions
from mmgen.store.store import load_generator
from mmgen.training import GeneratorModule, TokenizerModule
from tests.data_modules import data_module
from tests.spoken_runs import PARADIGM, RATE, codec_run, speech_run
from tests.training.test_previews import files, validated

pytest.importorskip("soundfile")

MODES = list(PARADIGM["init_args"]["members"])
SOUNDS = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SpeechFolder:
    """Hums that are longer than those of the tokenizer."""
    folder = tmp_path_factory.mktemp("data")
    hums = SpeechFolder.make_fake(folder / "hums", 12)
    return data_module(SpeechFolder, **hums, sample_rate=RATE, held_out=3, tokenizer=str(codec_run(folder / "codec")))


@pytest.fixture(scope="module")
def module(data: SpeechFolder, tmp_path_factory: pytest.TempPathFactory) -> GeneratorModule:
    assert data.tokenizer_path is not None
    folder = tmp_path_factory.mktemp("run")
    made = load_generator(speech_run(folder / "gen", Path(data.tokenizer_path)))
    backbone = made.generator.backbone
    return GeneratorModule(data.facts, 0, backbone, made.paradigm, positions="none").eval()


def test_every_mode_is_heard_and_seen(data: SpeechFolder, module: GeneratorModule, tmp_path: Path) -> None:
    logger = validated(tmp_path, data, module, count=SOUNDS)
    names = [f"{mode}-0000007{end}" for mode in MODES for end in (".png", *(f"-{n}.wav" for n in range(SOUNDS)))]
    assert files(tmp_path) == sorted(names)
    assert logger.images.keys() == {f"samples/{mode}" for mode in MODES}
    assert logger.sounds.keys() == {f"samples/{mode}/{number}" for mode in MODES for number in range(SOUNDS)}
    for name, (sound, step, rate) in logger.sounds.items():
        assert (step, rate) == (7, RATE)
        _, mode, number = name.split("/")
        written = read_audio(tmp_path / "samples" / f"{mode}-0000007-{number}.wav", RATE)
        torch.testing.assert_close(written[0], sound, atol=1e-4, rtol=0)
    with Image.open(tmp_path / "samples" / "ar-0000007.png") as sheet:
        assert sheet.mode == "RGB"


def test_held_out_texts_are_said_and_gaps_are_filled(
    data: SpeechFolder, module: GeneratorModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data.tokenizer is not None
    texts = data.samples("val").texts(torch.arange(len(data.samples("val"))))
    monkeypatch.setattr(previews, "pair_preview", lambda *pairs: pairs)
    for name, titles, truth, made, _ in previews.sample_previews(module, data, data.tokenizer, SOUNDS, SampleOptions()):
        assert len(titles) == len(truth) == len(made) == SOUNDS
        assert all(any(title in text.lower() for text in texts) for title in titles)
        assert all(sound.shape[0] == 1 and sound.shape[1] >= 40 for sound in [*truth, *made])
        if name == "infill":  # the outer parts are those of the recording
            for real, filled in zip(truth, made):
                third = real.shape[1] // 4
                torch.testing.assert_close(filled[:, :third], real[:, :third], atol=1e-5, rtol=0)


def test_a_codec_lets_its_reconstructions_be_heard(
    data: SpeechFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert data.tokenizer is not None
    module = TokenizerModule(data.tokenizer)
    validated(tmp_path, data, module, count=SOUNDS)
    assert files(tmp_path) == [
        "reconstruction-0000007-0.wav",
        "reconstruction-0000007-1.wav",
        "reconstruction-0000007.png",
    ]
    monkeypatch.setattr(previews, "pair_preview", lambda *pairs: pairs)
    _, _, truth, made, _ = previews.reconstruction_preview(module, data, SOUNDS)
    for real, decoded in zip(truth, made):
        assert real.shape == decoded.shape
        whole = data.tokenizer.decode(data.tokenizer.encode(real[None]))[0, :, : real.shape[1]]
        # On average: sums of a batch are rounded otherwise, and a near tie may then give another code.
        assert (decoded - whole)[:, :-80].abs().mean() < 0.01 * whole.abs().mean()
