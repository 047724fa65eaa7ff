"""Speech in folders, with transcripts, as LJSpeech, LibriSpeech and LibriTTS are laid out; read when it is needed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mmgen.core.characters import Text
from mmgen.core.draws import Draws
from mmgen.core.errors import UserError, require_one_of
from mmgen.core.vocabulary import NO_CLASS
from mmgen.data.sources.base import Samples, Source, SplitName, require_at_least
from mmgen.data.sources.captions import Captions, read_by, unreadable
from mmgen.data.sources.listing import Listing, usable
from mmgen.data.sources.scan import SOUNDS, report_skipped
from mmgen.media.audio import AudioHeader, read_header, write_wav
from mmgen.media.sound_file import import_soundfile
from mmgen.modalities.speech.sources.clips import SpeechClips, check_length, clip_length
from mmgen.modalities.speech.sources.transcripts import Utterance, find_utterances


class SpeechFolder(Source):
    """Sound files with transcripts, in any layout that `find_utterances` knows.

    The class is the speaker where the layout tells who speaks. File number i of the sorted files is held out when
    i % held_out == 0, or all files of every so manyth speaker, who then is no class. Any sample rate and number of
    channels will do. Files without a transcript, with a text too long or of unknown characters, and sounds that are
    broken, empty, shorter than a tenth of a second or too long are skipped: each is reported in one line, with a count.

    Args:
        root: the folder.
        seconds: of a clip; shorter sounds end in silence, longer ones are skipped.
        sample_rate: in Hz; files of another one are resampled.
        alphabet: the characters of a text, lower case unless it has capitals; None for those that the transcripts hold.
        max_text: characters of the longest text; None for the longest there is.
        held_out: one in so many is held out.
        held_out_by: what is counted, `files` or `speakers`.
        crop: train on random stretches of so many seconds, of sounds of any length and without text, as a tokenizer
            wants; None for whole clips.
        check: look at every file's header before training, which also says how long each character takes
            (`Text.timed`). Without it a large folder starts at once, and files that cannot be used are found when they
            are read.
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
        require_at_least(2, held_out=held_out)
        require_at_least(1, max_text=max_text)
        require_one_of("data.source.held_out_by", held_out_by, ("files", "speakers"))
        import_soundfile()
        self.root, self.sample_rate, self.cropped, self.check = Path(root), sample_rate, crop is not None, check
        self.seconds, self.held_out, self.by_speakers = seconds, held_out, held_out_by == "speakers"
        self.sample_shape = (1, clip_length(seconds, crop, sample_rate))
        self._utterances = self.find()
        speakers = sorted({each.speaker for each in self._utterances if each.speaker is not None})
        if self.by_speakers and len(speakers) < 2:
            raise UserError(f"{root} tells of {len(speakers)} speaker(s), so none can be held out: hold out files")
        self.held_out_speakers = speakers[::held_out] if self.by_speakers else []
        self.class_names = [speaker for speaker in speakers if speaker not in self.held_out_speakers]
        self.alphabet, self.max_text = alphabet, max_text

    @cached_property
    def text(self) -> Text | None:  # type: ignore[override]  # what is not given follows from the usable files
        if self.cropped:
            return None
        if self.alphabet is not None and self.max_text is not None and not self.check:
            return Text(self.alphabet, self.max_text)
        if not len(self._usable):
            raise self._without_any("train")
        text, read = read_by(_transcripts(self._usable), self.alphabet, self.max_text)
        known = [place for place, each in enumerate(read) if each is not None]
        if "seconds" not in self._usable.more or not known:
            return text
        texts, seconds = [each for each in read if each is not None], self._usable.more["seconds"][known].tolist()
        return Text.timed(text.alphabet, text.length, self.seconds, texts, seconds)

    def load_split(self, split: SplitName) -> Samples:
        part = self._parts[split]
        if not len(part):
            raise self._without_any(split)
        return SpeechClips(part, self.sample_shape[1], self.sample_rate, self.cropped, self.text)

    @cached_property
    def _parts(self) -> dict[SplitName, Listing]:
        if not self.by_speakers:
            train, val = self._readable.hold_out(self.held_out)
            return {"train": train, "val": val}
        out = self._readable.labels == NO_CLASS
        return {"train": self._readable.choose(~out), "val": self._readable.choose(out)}

    def find(self) -> list[Utterance]:
        """All sound files, with what the folder says of them."""
        return find_utterances(self.root, transcripts=not self.cropped)

    def _without_any(self, split: str) -> UserError:
        most = "" if self.cropped else f" of {self.seconds:g} s at most, with transcripts"
        return UserError(f"{self.root} has no usable sounds for the {split} split: several are needed{most}")

    @cached_property
    def _usable(self) -> Listing:
        """The sounds that can be used, with something said in them where that matters."""
        labels = {name: label for label, name in enumerate(self.class_names)}
        listing = Listing.of(
            self.root,
            [each.name for each in self._utterances],
            [labels.get(each.speaker or "", NO_CLASS) for each in self._utterances],
            first=0,
            captions=None if self.cropped else Captions.of([each.text or ""] for each in self._utterances),
        )
        if not self.cropped:
            listing = _readable(listing, lambda text: None if text.strip() else "it has no transcript")
        if not self.check:
            return listing
        listing, headers = usable(listing, SOUNDS, self._header, self._conversions)
        return replace(listing, more={"seconds": torch.tensor([each.seconds for each in headers], dtype=torch.float64)})

    @cached_property
    def _readable(self) -> Listing:
        """Those whose transcripts can be encoded."""
        text, listing = self.text, self._usable
        if text is None:
            return listing
        return _readable(listing, lambda each: unreadable(each, text, self.max_text or text.length))

    def _header(self, path: Path) -> AudioHeader:
        header = read_header(path)
        check_length(path, header.seconds, float("inf") if self.cropped else self.seconds)
        return header

    def _conversions(self, header: AudioHeader) -> Iterator[str]:
        if header.sample_rate != self.sample_rate:
            yield f"{header.sample_rate} Hz resampled to {self.sample_rate} Hz"
        if header.channels > 1:
            yield f"{header.channels} channels turned to their mean"
        yield from header.changes

    @staticmethod
    def make_fake(path: str | Path, samples: int = 20) -> dict[str, Any]:
        """Short hums as LibriTTS lays speech out, of two speakers in turn."""
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


def _transcripts(listing: Listing) -> list[str]:
    return [] if listing.captions is None else listing.captions.flat()


def _readable(listing: Listing, problem: Callable[[str], str | None]) -> Listing:
    """Those whose transcripts have no problem; the others are reported."""
    problems = [problem(text) for text in _transcripts(listing)]
    report_skipped(listing.root, {listing.name(place): each for place, each in enumerate(problems) if each})
    return listing.choose(torch.tensor([each is None for each in problems], dtype=torch.bool))
