"""Losses of tokenizers beside plain errors: how images look, how sounds sound, and whether they seem real."""

from mmgen.losses.adversarial import (
    Adversarial,
    adaptive_weight,
    discriminator_loss,
    feature_matching,
    generator_loss,
)
from mmgen.losses.audio_discriminator import MultiPeriod, MultiSTFT
from mmgen.losses.balancer import Balance, Balancer
from mmgen.losses.discriminator import Discriminator, Discriminators, PatchGAN, Verdict
from mmgen.losses.perceptual import LPIPS, FeatureLoss, Perceptual
from mmgen.losses.spectral import Spectral

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
