"""Data: sources of raw samples (`mmgen.data.sources`, no Lightning) and the data modules that train on them.

Lightning takes seconds to import, so a data module is imported when it is first named; `mmgen.data.sources`,
`mmgen.data.build`, `mmgen.data.stream` and `mmgen.data.shards` never import it.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "AsteriskPrompts": "asterisk_prompts",
    "Atari": "atari",
    "CachedTokens": "cached",
    "DataModule": "base",
    "Digits": "digits",
    "Emoji": "emoji",
    "EspeakSpeech": "espeak_speech",
    "HumanML3D": "humanml3d",
    "ImageFolder": "image_folder",
    "JointData": "joint",
    "Mocap": "mocap",
    "MovingDigits": "moving_digits",
    "Photos": "photos",
    "SpeechFolder": "speech_folder",
    "VideoFolder": "video_folder",
    "WebDataset": "web_dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
