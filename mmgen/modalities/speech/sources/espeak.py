"""The speech synthesiser espeak-ng through ctypes: text in, samples and phonemes out.

The library keeps state from one utterance to the next, so that the same text never sounds the same twice. Here every
utterance has the library freshly loaded, from a copy of its own, so that its sound is a function of text, voice, rate
and pitch alone. It costs a millisecond.
"""

import _ctypes
import ctypes
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmgen.core.errors import UserError, import_optional

SAMPLE_RATE = 22050  # Hz, of all its voices but those of other synthesisers
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: no sound card, no thread
_UTF8 = 1
_IPA = 2
_RATE, _PITCH = 1, 3  # espeakRATE, espeakPITCH
_LAST, _WORD = 0, 1  # espeakEVENT_LIST_TERMINATED, espeakEVENT_WORD


class _Event(ctypes.Structure):
    """espeak_EVENT: something that happens at a moment of the sound."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # of a character, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_LOCK = threading.Lock()


class Utterance(NamedTuple):
    """What a voice makes of a text.

    Attributes:
        samples: (n,) int16 at `SAMPLE_RATE`.
        phonemes: in the International Phonetic Alphabet, a blank between words, a stress mark before a vowel.
        words: the character of the text at which each word begins, and its second; words that are drawn together, such
            as `in the`, may be one.
    """

    samples: np.ndarray
    phonemes: str
    words: list[tuple[int, float]]


class Espeak:
    """A synthesiser, made by `espeak()`: its own copy of the shared library, and the folder of voices."""

    def __init__(self, library: Path, data: Path) -> None:
        self.library, self.data = library, data

    def speak(self, text: str, voice: str, rate: int, pitch: int) -> Utterance:
        """Speak one sentence in a voice such as `en-us+f2`, at a rate of 80 to 450 words a minute and a pitch of 0 to
        100, 50 being the voice's own. Raises UserError where there is no such voice, or nothing is said.
        """
        with _LOCK, self._loaded() as library:
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise UserError(f"espeak-ng has no voice {voice!r}; a voice is a language and a variant: 'en-us+f2'")
            library.espeak_SetParameter(_RATE, rate, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            parts: list[np.ndarray] = []
            words: list[tuple[int, float]] = []

            def take(wave: "ctypes._Pointer[ctypes.c_short]", length: int, events: "ctypes._Pointer[_Event]") -> int:
                if wave and length > 0:
                    parts.append(np.ctypeslib.as_array(wave, (length,)).copy())
                for place in count():
                    if events[place].type == _LAST:
                        return 0
                    if events[place].type == _WORD:
                        words.append((events[place].text_position - 1, events[place].audio_position / 1000))
                return 0

            callback = _CALLBACK(take)  # held here for as long as the library may call it
            library.espeak_SetSynthCallback(callback)
            encoded = text.encode() + b"\0"
            library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _UTF8, None, None)
            library.espeak_Synchronize()
            if not parts:
                raise UserError(f"espeak-ng says nothing for {text!r} in voice {voice!r}")
            return Utterance(np.concatenate(parts), _phonemes(library, encoded), words)

    @contextmanager
    def _loaded(self) -> Iterator[ctypes.CDLL]:
        library = ctypes.CDLL(str(self.library))
        try:
            if library.espeak_Initialize(_SYNCHRONOUS, 0, str(self.data).encode(), 0) != SAMPLE_RATE:
                raise UserError(f"espeak-ng cannot be started with the voices in {self.data}")
            library.espeak_ng_SetRandSeed(ctypes.c_long(0))
            yield library
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)


def _phonemes(library: ctypes.CDLL, text: bytes) -> str:
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(text)
    clauses = []
    while rest.value:  # the library moves it on by a clause, and to null at the end
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA).decode().strip())
    return ", ".join(filter(None, clauses))


@contextmanager
def espeak() -> Iterator[Espeak]:
    """The synthesiser of the package espeakng_loader. Raises UserError where that is not installed."""
    loader = import_optional("espeakng_loader", "spoken sentences need", "espeakng-loader", "speech")
    with tempfile.TemporaryDirectory(prefix="mmgen-espeak-") as folder:
        yield Espeak(Path(shutil.copy(loader.get_library_path(), folder)), Path(loader.get_data_path()))


def espeak_version() -> str:
    """Of the package that carries it; `none` where it is not installed."""
    try:
        return version("espeakng-loader")
    except ModuleNotFoundError:  # importlib.metadata.PackageNotFoundError is one
        return "none"
