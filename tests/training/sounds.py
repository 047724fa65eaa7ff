"""A codec of hums, trained on every loss of sound at once, small enough to take a second."""

from pathlib import Path

import pytest

from mmgen.modalities.speech.sources.speech_folder import SpeechFolder
from mmgen.modalities.speech.tokenizers.codec import SEANetCodec
from mmgen.tokenizers.quantizers import FSQ

RECIPE = """
seed_everything: 0
model:
  class_path: TokenizerModule
  init_args:
    tokenizer:
      class_path: SEANetCodec
      init_args:
        quantizer: {class_path: ResidualVQ, init_args: {codes: 8, dim: 4, levels: 2, dropout: 0.5}}
        seconds: 0.05
        ratios: [8, 5]
        channels: 2
        width: 8
        blocks: 1
    l1: 0.1
    l2: 0.0
    spectral: {windows: [128, 32], mels: [8, 4], stft: 0.5, resolutions: [[64, 10, 40]]}
    balancer: {decay: 0.9}
    adversarial:
      discriminator:
        class_path: Discriminators
        init_args:
          each:
            - {class_path: MultiPeriod, init_args: {width: 1, periods: [2, 3]}}
            - {class_path: MultiSTFT, init_args: {width: 2, windows: [64, 16]}}
      start: 1
      weight: 1.0
      loss: least_squares
      feature_matching: 2.0
      adaptive: false
data:
  class_path: DataModule
  init_args:
    source: {class_path: SpeechFolder, init_args: {root: ROOT, seconds: 1.0, crop: 0.05}}
    global_batch_size: 4
"""


def tiny(**options) -> SEANetCodec:
    """A codec of 800 samples at 16 kHz, in tokens of 40."""
    sizes = {"seconds": 0.05, "ratios": (8, 5), "channels": 2, "width": 8, "blocks": 0}
    return SEANetCodec(FSQ([4, 4]), **(sizes | options))


def hums(path: Path) -> list[str]:
    """Options of a recipe on 20 hums."""
    pytest.importorskip("soundfile")
    root = SpeechFolder.make_fake(path / "hums", 20)["root"]
    recipe = path / "codec.yaml"
    recipe.write_text(RECIPE.replace("ROOT", root))
    return [f"--config={recipe}"]
