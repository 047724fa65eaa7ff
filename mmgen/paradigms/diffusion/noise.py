"""Noise processes on continuous tokens: how data is noised, what a denoiser predicts of it, and the way back.

A noise level runs from 0 (data) to 1 (noise). The steps back are those of diffusers' schedulers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mmgen.core.errors import UserError

Prediction = Literal["velocity", "epsilon", "x0"]


@dataclass(frozen=True, eq=False)
class Solver:
    """One way from noise to data."""

    levels: list[float]  # the noise level of each step's input, falling
    step: Callable[[Tensor, int, Tensor], Tensor]  # (prediction, index, noisy tokens) -> less noisy ones, in order


class NoiseProcess(ABC):
    """x = a(level) data + b(level) noise.

    Args:
        prediction: what the denoiser yields: the velocity, the noise (`epsilon`) or the data (`x0`).
    """

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction

    @abstractmethod
    def levels(self, uniform: Tensor) -> Tensor:
        """Training's noise levels, from uniform numbers in [0, 1), any shape."""

    @abstractmethod
    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b) at a level, any shape."""

    @abstractmethod
    def velocity(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """The velocity of this process; level is broadcast against the tokens."""

    @abstractmethod
    def solver(self, steps: int) -> Solver:
        """The way back in that many steps; a fresh one for every block, since multistep solvers have a memory."""

    def corrupt(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Noisy tokens: data and noise (B, N, C), level (B, N, 1) or broadcast against them."""
        a, b = self.scales(level)
        return a * data + b * noise

    def target(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """What the denoiser should predict."""
        if self.prediction == "velocity":
            return self.velocity(data, noise, level)
        return noise if self.prediction == "epsilon" else data


class Flow(NoiseProcess):
    """Rectified flow: x = (1 - t) data + t noise, velocity = noise - data (Liu et al. 2023; Lipman et al. 2023), solved
    by Euler steps.

    Args:
        prediction: velocity or x0. Not epsilon: at t = 1 the noise is the input itself, and leads nowhere.
        density: law of the level in training: uniform, or logit_normal, which prefers the middle (Esser et al. 2024,
            section 3.1).
        shift: above 1 moves the sampler's levels towards noise (Esser et al. 2024, equation 23), for tokens of many
            channels.
    """

    def __init__(
        self,
        prediction: Literal["velocity", "x0"] = "velocity",
        density: Literal["uniform", "logit_normal"] = "uniform",
        shift: float = 1.0,
    ) -> None:
        super().__init__(prediction)
        if shift <= 0:
            raise UserError(f"shift {shift} must be positive")
        self.density, self.shift = density, shift

    def levels(self, uniform: Tensor) -> Tensor:
        if self.density == "uniform":
            return uniform
        return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)).sigmoid()

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - level, level

    def velocity(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        return noise - data

    def solver(self, steps: int) -> Solver:
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler = FlowMatchEulerDiscreteScheduler(shift=self.shift)
        scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
        levels = scheduler.sigmas[:-1].tolist()

        def step(prediction: Tensor, index: int, x: Tensor) -> Tensor:
            velocity = prediction if self.prediction == "velocity" else (x - prediction) / levels[index]
            return scheduler.step(velocity, scheduler.timesteps[index], x).prev_sample.to(x.dtype)

        return Solver(levels, step)


class DDPM(NoiseProcess):
    """Variance-preserving diffusion in 1,000 steps (Ho et al. 2020): x = sqrt(abar) data + sqrt(1 - abar) noise, solved
    by DPM-Solver++ (Lu et al. 2022), as ACDiT does.

    Args:
        prediction: epsilon, x0, or the velocity sqrt(abar) noise - sqrt(1 - abar) data (Salimans & Ho 2022).
        betas: diffusers' name of the schedule: linear (ACDiT), scaled_linear (Stable Diffusion) or squaredcos_cap_v2.
    """

    steps = 1000

    def __init__(
        self,
        prediction: Prediction = "epsilon",
        betas: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear",
    ) -> None:
        super().__init__(prediction)
        self.betas = betas
        self._abar: Tensor | None = None

    @property
    def abar(self) -> Tensor:
        """(1000,) share of the data's variance that is left after each step, float64."""
        if self._abar is None:
            from diffusers import DDPMScheduler

            scheduler = DDPMScheduler(num_train_timesteps=self.steps, beta_schedule=self.betas)
            with torch.inference_mode(False):
                self._abar = scheduler.alphas_cumprod.double()
        return self._abar

    def levels(self, uniform: Tensor) -> Tensor:
        return (torch.floor(uniform * self.steps) + 1) / self.steps

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        index = (level * self.steps).round().long()
        abar = torch.nn.functional.pad(self.abar, (1, 0), value=1.0).to(level.device)[index].to(level.dtype)
        return abar.sqrt(), (1 - abar).sqrt()

    def velocity(self, data: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        a, b = self.scales(level)
        return a * noise - b * data

    def solver(self, steps: int) -> Solver:
        from diffusers import DPMSolverMultistepScheduler

        kind = {"velocity": "v_prediction", "epsilon": "epsilon", "x0": "sample"}[self.prediction]
        scheduler = DPMSolverMultistepScheduler(
            num_train_timesteps=self.steps, beta_schedule=self.betas, prediction_type=kind
        )
        scheduler.set_timesteps(steps)
        levels = ((scheduler.timesteps.double() + 1) / self.steps).tolist()

        def step(prediction: Tensor, index: int, x: Tensor) -> Tensor:
            return scheduler.step(prediction, scheduler.timesteps[index], x).prev_sample.to(x.dtype)

        return Solver(levels, step)
