"""The voice prompts of the telephone exchange Asterisk: one speaker, recorded, with transcripts, a Debian package."""

import re
from pathlib import Path
from typing import Any

import torch

from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.text_file import read_lines
from mmgen.data.sources.scan import SOUNDS
from mmgen.data.sources.search import find_files
from mmgen.media.audio import write_wav
from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.modalities.speech.sources.transcripts import Utterance

ROOT = "/usr/share/asterisk/sounds/en_US_f_Allison"
TRANSCRIPTS = "/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
ALPHABET = " ',-.?abcdefghijklmnopqrstuvwxyz"
_PACKAGE = "asterisk-core-sounds-en-wav"
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NOISE = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")  # a tone, a silence, or a remark: what nobody says


class AsteriskPrompts(SpeechFolder):
    """568 prompts (Allison Smith's, CC BY-SA 3.0) of a word to a minute each, recorded at 8 kHz for telephones.

    They are in Debian's package asterisk-core-sounds-en-wav, which the user installs. Transcripts are in lower case,
    single digits in words; prompts of tones and silence, and those that say longer numbers or symbols, are skipped.

    Args:
        root: the folder of the sounds; None for where the package puts them.
        transcripts: the text file of what they say, perhaps gzipped; None for the package's own.
        seconds: of a clip; shorter prompts end in silence, longer ones are skipped.
        sample_rate: in Hz, to which they are resampled; nothing above 4 kHz is heard.
        max_text: characters of the longest text; None for the longest there is.
        held_out: prompt number i of the sorted ones is held out when i % held_out == 0.
        crop: train on random stretches of so many seconds, without text, as a tokenizer wants; None for whole clips.
    """

    def __init__(
        self,
        root: str | None = None,
        transcripts: str | None = None,
        seconds: float = 4.0,
        sample_rate: int = 16000,
        max_text: int | None = None,
        held_out: int = 10,
        crop: float | None = None,
    ) -> None:
        self.transcripts = Path(TRANSCRIPTS if transcripts is None else transcripts)
        super().__init__(ROOT if root is None else root, seconds, sample_rate, ALPHABET, max_text, held_out, crop=crop)

    def find(self) -> list[Utterance]:
        names = find_files(self.root, SOUNDS) if self.root.is_dir() else []
        if not names or not self.transcripts.is_file():
            missing = self.transcripts if names else self.root
            raise UserError(
                f"the prompts are not at {missing}: apt-get install {_PACKAGE}, or set data.source.root and"
                f" data.source.transcripts"
            )
        texts = _read_texts(self.transcripts)
        # Without a transcript, too, these are no speech: they are left out of what a tokenizer is trained on as well.
        return [Utterance(name, texts[key]) for name in names if texts.get(key := name.rpartition(".")[0])]

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Short hums at 8 kHz and a list of what they say, as the package has them."""
        (Path(path) / "sounds" / "digits").mkdir(parents=True, exist_ok=True)
        lines = ["; Core Sounds", "", "beep: [this is a simple beep tone]"]
        for number, pitch in enumerate(Draws(0, torch.arange(samples)).uniform("fake prompts").tolist()):
            name = f"digits/{number}" if number % 2 else f"prompt-{number}"
            time = torch.arange(4000 + 200 * number % 3000) / 8000
            write_wav(0.5 * (2 * torch.pi * (100 + 200 * pitch) * time).sin(), f"{path}/sounds/{name}.wav", 8000)
            lines.append(f"{name}: Press {number % 10}, please!")
        (Path(path) / "sounds.txt").write_text("\n".join(lines) + "\n")
        return {"root": f"{path}/sounds", "transcripts": f"{path}/sounds.txt", "seconds": 1.0}


def _read_texts(path: Path) -> dict[str, str]:
    """Name -> text of lines `NAME: text`, without those that say nothing."""
    lines = read_lines(path, "data.source.transcripts: ")
    pairs = (line.partition(":") for line in lines if not line.startswith(";"))
    texts = {name.strip(): _spell(text) for name, _, text in pairs}
    return {name: text for name, text in texts.items() if text}


def _spell(text: str) -> str:
    """A text as it is spoken, in `ALPHABET` as far as that goes."""
    text = _NOISE.sub(" ", text).lower().translate(str.maketrans("!;:", ".,,"))
    text = re.sub(r"(?<![\d.])\d(?![\d.])", lambda digit: _DIGITS[int(digit[0])], text)
    return " ".join(text.split())
