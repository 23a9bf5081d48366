"""Layers of GemNet and DimeNet++, and how they are initialised."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def sum_over(values: torch.Tensor, index: torch.Tensor, n: int) -> torch.Tensor:
    """Sum rows with the same index, shape (n, ...)."""
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index, values)


def mean_over(values: torch.Tensor, index: torch.Tensor, n: int) -> torch.Tensor:
    """Average rows with the same index, shape (n, ...)."""
    counts = torch.bincount(index, minlength=n).clamp(min=1)
    return sum_over(values, index, n) / counts.view(-1, *[1] * (values.dim() - 1))


@torch.no_grad()
def he_orthogonal(weight: torch.Tensor) -> None:
    """Fill with decorrelated numbers of variance 1/inputs, as GemNet does; a third dimension is the outputs'."""
    nn.init.orthogonal_(weight)
    inputs = weight.shape[:-1].numel() if weight.dim() == 3 else weight.shape[1]
    variance, mean = torch.var_mean(weight, dim=(0, 1) if weight.dim() == 3 else 1, keepdim=True)
    weight.sub_(mean).div_((variance + 1e-6).sqrt() * math.sqrt(inputs))


@torch.no_grad()
def glorot_orthogonal(weight: torch.Tensor) -> None:
    """Fill with an orthogonal matrix of Glorot's variance, as DimeNet++ does."""
    nn.init.orthogonal_(weight)
    weight.mul_(torch.sqrt(2.0 / (sum(weight.shape) * weight.var())))


def plain_linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer as DimeNet++ begins it."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    glorot_orthogonal(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Dense(nn.Module):
    """A linear layer without bias, and, on demand, SiLU scaled to keep the variance."""

    def __init__(self, inputs: int, outputs: int, *, activated: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        he_orthogonal(self.linear.weight)
        self.activated = activated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map the last dimension."""
        x = self.linear(x)
        return nn.functional.silu(x) / 0.6 if self.activated else x


class Residual(nn.Module):
    """Two dense layers and a skip connection, scaled to keep the variance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(Dense(width, width), Dense(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map the last dimension."""
        return (x + self.layers(x)) / math.sqrt(2)


class PlainResidual(nn.Module):
    """DimeNet++'s residual layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = plain_linear(width, width), plain_linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map the last dimension."""
        silu = nn.functional.silu
        return x + silu(self.second(silu(self.first(x))))


class ScaleFactor(nn.Module):
    """A constant that keeps the variance of what follows it; measured once, before training (arXiv 2106.08903, 6)."""

    factor: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(1.0))
        self.measuring = False

    def forward(self, x: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Scale x towards the variance of the reference."""
        if self.measuring:
            ratio = reference.var(dim=0).mean() / x.var(dim=0).mean()
            if torch.isfinite(ratio) and ratio > 0:
                self.factor.copy_(ratio.sqrt())
        return x * self.factor


@contextmanager
def measuring(module: nn.Module) -> Iterator[None]:
    """Within it, every scale factor of the module sets itself by what passes."""
    factors = [part for part in module.modules() if isinstance(part, ScaleFactor)]
    for factor in factors:
        factor.measuring = True
    try:
        yield
    finally:
        for factor in factors:
            factor.measuring = False
