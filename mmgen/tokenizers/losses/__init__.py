"""Losses of tokenizers beside plain errors: how images look, how sounds sound, and whether they seem real."""

from mmgen.tokenizers.losses.adversarial import (
    Adversarial,
    adaptive_weight,
    discriminator_loss,
    feature_matching,
    generator_loss,
)
from mmgen.tokenizers.losses.audio_discriminator import MultiPeriod, MultiSTFT
from mmgen.tokenizers.losses.balancer import Balance, Balancer
from mmgen.tokenizers.losses.discriminator import Discriminator, Discriminators, PatchGAN, Verdict
from mmgen.tokenizers.losses.perceptual import LPIPS, FeatureLoss, Perceptual
from mmgen.tokenizers.losses.spectral import Spectral

__all__ = [
    "LPIPS",
    "Adversarial",
    "Balance",
    "Balancer",
    "Discriminator",
    "Discriminators",
    "FeatureLoss",
    "MultiPeriod",
    "MultiSTFT",
    "PatchGAN",
    "Perceptual",
    "Spectral",
    "Verdict",
    "adaptive_weight",
    "discriminator_loss",
    "feature_matching",
    "generator_loss",
]
