"""Speech in folders, with transcripts, as LJSpeech, LibriSpeech and LibriTTS are laid out; read when it is needed."""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Samples, Source, SplitName, check_split
from mmgen.data.sources.scan import SOUNDS, notice, skim, tell_conversions
from mmgen.media.audio import AudioHeader, import_soundfile, read_header, write_wav
from mmgen.modalities.speech.sources.clips import clip_samples
from mmgen.modalities.speech.sources.speech_samples import SpeechClips, SpeechListing, check_length
from mmgen.modalities.speech.sources.transcripts import Utterance, find_utterances

_NAMED = 3  # files that a notice names as examples


class SpeechFolder(Source):
    """Sound files with transcripts, in any layout that `find_utterances` knows.

    The class is the speaker where the layout tells who speaks. File number i of the sorted files is held out when
    i % held_out == 0, or all files of every so manyth speaker, who then is no class. Any sample rate and number of
    channels will do. Files without a transcript, with a text too long or of unknown characters, and sounds that are
    broken, empty, shorter than a tenth of a second or too long are skipped: each told in one line, with a count.

    Args:
        root: the folder.
        seconds: of a clip; shorter sounds end in silence, longer ones are skipped.
        sample_rate: in Hz; files of another one are resampled.
        alphabet: the characters of a text, lower case unless it has capitals; None for those that the transcripts hold.
        max_text: characters of the longest text; None for the longest there is. Where files are read, these also tell
            how long each character takes (`Text.timed`).
        held_out: one in so many is held out.
        held_out_by: what is counted, `files` or `speakers`.
        crop: train on random stretches of so many seconds, of sounds of any length and without text, as a tokenizer
            wants; None for whole clips.
        check: look at every file's header before training. Without it a large folder starts at once, and files that
            cannot be used are found when they are read.

    Raises:
        UserError: there is no such folder, or no sound in it, or an argument is out of range.
    """

    crop = "the first seconds of a sound"
    sample_rate: int

    def __init__(
        self,
        root: str | Path,
        seconds: float = 10.0,
        sample_rate: int = 16000,
        alphabet: str | None = None,
        max_text: int | None = None,
        held_out: int = 10,
        held_out_by: str = "files",
        crop: float | None = None,
        check: bool = True,
    ) -> None:
        if held_out < 2 or (max_text is not None and max_text < 1):
            raise UserError(
                f"data.source.held_out must be at least 2 and data.source.max_text at least 1, got {held_out} and"
                f" {max_text}"
            )
        if held_out_by not in ("files", "speakers"):
            raise UserError(f"data.source.held_out_by must be 'files' or 'speakers', got {held_out_by!r}")
        import_soundfile()
        self.root, self.sample_rate, self.cropped, self.check = Path(root), sample_rate, crop is not None, check
        self.seconds, self.held_out, self.by_speakers = seconds, held_out, held_out_by == "speakers"
        self.sample_shape = (1, clip_samples(seconds, crop, sample_rate))
        self._utterances = self._find()
        speakers = sorted({each.speaker for each in self._utterances if each.speaker is not None})
        if self.by_speakers and len(speakers) < 2:
            raise UserError(f"{root} tells of {len(speakers)} speaker(s), so none can be held out: hold out files")
        self.held_out_speakers = speakers[::held_out] if self.by_speakers else []
        self.class_names = [speaker for speaker in speakers if speaker not in self.held_out_speakers]
        self.alphabet, self.max_text = alphabet, max_text
        self._splits: dict[str, SpeechClips] = {}

    @cached_property
    def text(self) -> Text | None:  # type: ignore[override]  # what is not given follows from the usable files
        if self.cropped:
            return None
        if self.alphabet is not None and self.max_text is not None and not self.check:
            return Text(self.alphabet, self.max_text)
        if not len(self._spoken):
            raise self._without_any("train")
        said = [" ".join(text.decode().split()) for text in self._spoken.said]
        given = None if self.alphabet is None else Text(self.alphabet, 1)
        said = [text.lower() if given is None else given.normal(text) for text in said]
        alphabet = "".join(sorted(set("".join(said)))) if self.alphabet is None else self.alphabet
        known = [place for place, text in enumerate(said) if set(text) <= set(alphabet)]
        read, seconds = [said[place] for place in known], self._spoken.seconds
        characters = max(map(len, read), default=1) if self.max_text is None else self.max_text
        if seconds is None or not known:
            return Text(alphabet, characters)
        return Text.timed(alphabet, characters, self.seconds, read, seconds[known].tolist())

    def samples(self, split: SplitName) -> Samples:
        check_split(split)
        if not self._splits:
            listing = self._spoken if self.text is None else self._readable(self._spoken, self.text)
            out = listing.labels == NO_CLASS if self.by_speakers else listing.numbers % self.held_out == 0
            for name, rows in (("train", ~out), ("val", out)):
                part = listing.choose(rows)
                if not len(part):
                    raise self._without_any(name)
                self._splits[name] = SpeechClips(part, self.sample_shape[1], self.sample_rate, self.cropped)
        return self._splits[split]

    def _find(self) -> list[Utterance]:
        return find_utterances(self.root, transcripts=not self.cropped)

    def _without_any(self, split: str) -> UserError:
        most = "" if self.cropped else f" of {self.seconds:g} s at most, with transcripts"
        return UserError(f"{self.root} has no usable sounds for the {split} split: several are needed{most}")

    @cached_property
    def _spoken(self) -> SpeechListing:
        """The sounds that can be used, with something said in them where that matters."""
        labels = {name: label for label, name in enumerate(self.class_names)}
        listing = SpeechListing(
            self.root,
            np.array([os.fsencode(each.name) for each in self._utterances], np.bytes_),
            torch.tensor([labels.get(each.speaker or "", NO_CLASS) for each in self._utterances]),
            torch.arange(len(self._utterances)),
            said=np.array([(each.said or "").encode() for each in self._utterances], np.bytes_),
        )
        if not self.cropped:
            listing = _without(listing, "without a transcript", [not text.strip() for text in listing.said])
        if not self.check:
            return listing
        headers = skim(self.root, [os.fsdecode(name) for name in listing.names], self._header)
        tell_conversions(self.root, self._conversions(headers), SOUNDS)
        kept = listing.choose(torch.tensor([header is not None for header in headers], dtype=torch.bool))
        seconds = [header.seconds for header in headers if header is not None]
        return replace(kept, seconds=torch.tensor(seconds, dtype=torch.float64))

    def _readable(self, listing: SpeechListing, text: Text) -> SpeechListing:
        """Those whose transcripts can be encoded."""
        known, most = set(text.alphabet), text.length if self.max_text is None else self.max_text
        for reason, applies in (
            ("with characters outside data.source.alphabet", lambda said: not set(said) <= known),
            (f"with a text of more than {most} characters", lambda said: len(said) > most),
        ):
            listing = _without(listing, reason, [applies(text.normal(said.decode())) for said in listing.said])
        return replace(listing, symbols=text.encode_all(said.decode() for said in listing.said).to(torch.int16))

    def _header(self, path: Path) -> AudioHeader:
        header = read_header(path)
        check_length(path, header.seconds, float("inf") if self.cropped else self.seconds)
        return header

    def _conversions(self, headers: list[AudioHeader | None]) -> Iterator[str]:
        for header in headers:
            if header is not None and header.sample_rate != self.sample_rate:
                yield f"{header.sample_rate} Hz resampled to {self.sample_rate} Hz"
            if header is not None and header.channels > 1:
                yield f"{header.channels} channels turned to their mean"

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Writes short hums as LibriTTS lays speech out, of two speakers in turn; returns the arguments that read them.

        Args:
            path: a folder, made if it does not exist.
            samples: of both splits, at least 2.
        """
        draws = Draws(0, torch.arange(samples)).uniform("fake speech", 2).tolist()
        for number, (pitch, length) in enumerate(draws):
            speaker = 100 + number % 2
            folder = Path(path) / f"{speaker}" / "1"
            folder.mkdir(parents=True, exist_ok=True)
            time = torch.arange(int(16000 * (0.5 + 0.5 * length))) / 16000
            name = f"{speaker}_1_{number:06d}"
            write_wav(0.5 * (2 * torch.pi * (100 + 200 * pitch) * time).sin(), folder / f"{name}.wav", 16000)
            (folder / f"{name}.normalized.txt").write_text(f"Hum {'abc'[number % 3] * (1 + number % 4)}.\n")
        return {"root": str(path), "seconds": 1.0}


def _without(listing: SpeechListing, reason: str, rows: list[bool]) -> SpeechListing:
    """Those of which `rows` is false; the others are told."""
    out = torch.tensor(rows, dtype=torch.bool)
    if out.any():
        names = [os.fsdecode(name) for name in listing.choose(out).names]
        more = ", ..." if len(names) > _NAMED else ""
        notice(f"{listing.root}: {len(names)} file(s) {reason} skipped: {', '.join(names[:_NAMED])}{more}")
    return listing.choose(~out)
