"""Losses that are networks themselves, for training tokenizers: how images look, and whether they look real."""

from mmgen.losses.adversarial import Adversarial, adaptive_weight, discriminator_loss, generator_loss
from mmgen.losses.discriminator import Discriminator, PatchGAN
from mmgen.losses.perceptual import LPIPS, FeatureLoss, Perceptual

__all__ = [
    "LPIPS",
    "Adversarial",
    "Discriminator",
    "FeatureLoss",
    "PatchGAN",
    "Perceptual",
    "adaptive_weight",
    "discriminator_loss",
    "generator_loss",
]
