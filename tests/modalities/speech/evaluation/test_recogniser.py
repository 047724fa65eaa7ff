"""The recogniser, the judge of voices and DNSMOS on real speech, and what is said where they are missing."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mmgen.core.errors import UserError
from mmgen.modalities.speech.evaluation import recogniser as module
from mmgen.modalities.speech.evaluation.listeners import Resemblyzer, dnsmos, next_of_same
from mmgen.modalities.speech.evaluation.recogniser import PACKAGE, RATE, SHA256, get_recogniser, padded_sound
from mmgen.modalities.speech.evaluation.transcripts import word_errors
from mmgen.modalities.speech.sources.espeak import SAMPLE_RATE, espeak
from tests.evaluation.sounds import noisy


def spoken(texts: Sequence[str], voice: str = "en-us+f1") -> list[torch.Tensor]:
    pytest.importorskip("espeakng_loader")
    with espeak() as speaker:
        sentences = [speaker.speak(text, voice, 150, 50).samples for text in texts]
    return [torch.from_numpy(samples).float() / 32768 for samples in sentences]


@pytest.mark.e2e
def test_speech_is_written_down() -> None:
    pytest.importorskip("faster_whisper")
    pytest.importorskip(PACKAGE)
    recogniser = get_recogniser()
    sentences = ["the teacher opens the yellow letter", "three, seven, one"]
    texts = recogniser.transcribe(spoken(sentences), SAMPLE_RATE)
    assert word_errors(texts, sentences)[0] <= 0.2
    assert recogniser.name == "whisper_tiny_en" and SHA256[:16] in recogniser.protocol["recogniser"]


@pytest.mark.e2e
def test_voices_are_told_apart() -> None:
    pytest.importorskip("resemblyzer")
    pytest.importorskip("webrtcvad")
    judge, sentences = Resemblyzer(), ["the teacher opens the yellow letter", "the little window is near the river"]
    women, men = (judge(spoken(sentences, voice), SAMPLE_RATE) for voice in ("en-us+f1", "en-us+m1"))
    assert torch.allclose(women.norm(dim=1), torch.ones(2), atol=1e-5)
    assert women[0] @ women[1] > women[0] @ men[1] + 0.05
    assert not bool(judge([torch.zeros(4000)], 16000).any())
    assert judge([torch.full((200,), 0.1)], 16000).shape == (1, 256)  # too short to hear a voice in


@pytest.mark.e2e
def test_noise_is_no_natural_speech() -> None:
    pytest.importorskip("speechmos")
    (sound,) = spoken(["the teacher opens the yellow letter"])
    clean, poor = dnsmos([sound, noisy(sound, 0.3)], SAMPLE_RATE).tolist()
    assert 1 <= poor < clean <= 5


def test_it_hears_silence_around() -> None:
    sound = padded_sound(torch.ones(800), 8000)
    assert len(sound) == 2 * RATE // 2 + 1600 and sound.dtype == "float32"
    assert not sound[: RATE // 2].any() and not sound[-RATE // 2 :].any() and sound.any()


def test_another_model_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.bin").write_bytes(b"another")
    (tmp_path / "__init__.py").write_text("")
    installed = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})
    monkeypatch.setattr(module, "find_spec", lambda name: installed)
    monkeypatch.setattr(module, "version", lambda name: "0.1.0")
    with pytest.raises(UserError, match=f"SHA-256 .* instead of {SHA256[:16]}"):
        get_recogniser()


@pytest.mark.parametrize("package", [PACKAGE, "faster_whisper"])
def test_a_missing_package_is_told_with_its_extra(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.bin").write_bytes(b"another")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'mmgen\[.*\]'") as told:
        get_recogniser(None if package == PACKAGE else tmp_path)
    assert package.replace("_", "-") in str(told.value)


def test_folders_that_hold_no_whisper_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        get_recogniser(tmp_path / "none")
    with pytest.raises(UserError, match=r"neither model\.bin of CTranslate2 nor"):
        get_recogniser(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"neither model\.bin"):
        get_recogniser(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"no model")
    pytest.importorskip("faster_whisper")
    with pytest.raises(UserError, match="holds no Whisper for CTranslate2"):
        get_recogniser(tmp_path)


def test_each_row_is_paired_with_the_next_of_its_voice() -> None:
    labels = torch.tensor([0, 1, 0, -1, 0, 2, 1, -1])
    assert next_of_same(labels).tolist() == [2, 6, 4, -1, 0, -1, 1, -1]
