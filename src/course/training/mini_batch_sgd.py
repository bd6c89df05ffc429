# From docs/1-training/mini-batch-sgd.md, which is its source: edit there.  [3ba8a6f40e2f]
# %% a-sample-of-the-gradient-2
"""Batches: how to draw them, how noisy their gradient is, how high a constant rate hovers."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


def with_replacement(
    n: int, batch_size: int, generator: torch.Generator
) -> Iterator[Int[Tensor, "batch_size"]]:
    """Draw batches of rows for ever, each row independent of all others."""
    while True:
        yield torch.randint(n, (batch_size,), generator=generator)


def reshuffled(
    n: int, batch_size: int, generator: torch.Generator, drop_last: bool = False
) -> Iterator[Int[Tensor, "_"]]:
    """Deal out all rows, then shuffle them anew, for ever.

    Parameters
    ----------
    n, batch_size : int
        Number of examples, and of those in a batch.
    generator : Generator
        Goes on from epoch to epoch: do not seed it again.
    drop_last : bool
        Leave out the rows of each epoch that fill no batch, instead of making a short one.

    Raises
    ------
    ValueError
        At the first batch, if not ``1 <= batch_size <= n``.
    """
    if not 1 <= batch_size <= n:
        raise ValueError(f"need 1 <= batch_size <= n, got {batch_size} and {n}")
    used = n - n % batch_size if drop_last else n
    while True:
        yield from torch.randperm(n, generator=generator)[:used].split(batch_size)


# %% what-a-batch-is-worth-2
class GradientNoise(NamedTuple):
    """What the gradients of single examples agree on, and what they do not."""

    signal: float
    """Squared norm of the mean gradient."""
    noise: float
    """Trace of the covariance: mean squared distance of a gradient from the mean."""

    @property
    def scale(self) -> float:
        """Batch size at which noise and signal are level."""
        return self.noise / self.signal


def gradient_noise(
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    x: Num[Tensor, "batch ..."],
    y: Num[Tensor, "batch ..."],
) -> GradientNoise:
    """Measure the gradient noise over the examples, which are taken for all there are.

    Parameters
    ----------
    model : Module
        Must treat examples one by one (no batch norm) and draw no random numbers.
    loss_fn : callable
        Maps ``model(x)`` and ``y`` to the *mean* over the batch.
    x, y : Tensor
        Inputs and targets. From a mere sample of the data, `signal` comes out too large,
        by ``noise / len(x)`` or so.

    References
    ----------
    S. McCandlish et al., "An Empirical Model of Large-Batch Training", 2018.
    """
    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return loss_fn(functional_call(model, params, (x,)), y)

    def square_norm(x: Tensor, y: Tensor) -> Float[Tensor, ""]:
        gradient = grad(loss)(params, x, y)
        return torch.stack([g.square().sum() for g in gradient.values()]).sum()

    signal = square_norm(x, y)
    # Only norms leave vmap: n gradients never lie in memory at once.
    squares = vmap(square_norm, chunk_size=256)(x[:, None], y[:, None])
    return GradientNoise(signal.item(), (squares.mean() - signal).item())


# %% a-constant-rate-hovers-1
def stationary_variance(
    curvature: Float[Tensor, "*shape"],
    noise: Float[Tensor, "*shape"],
    lr: float,
    batch_size: int = 1,
) -> Float[Tensor, "*shape"]:
    """Mean squared distance from the minimum at which SGD with a constant rate hovers.

    For a quadratic, along each eigenvector of its Hessian; draws with replacement.

    Parameters
    ----------
    curvature : Tensor of any shape
        Eigenvalues of the Hessian, above 0.
    noise : Tensor of the same shape
        Variance of one example's gradient along these eigenvectors.
    lr : float
        Learning rate. It must be below ``2 / curvature``; elsewhere the result is infinite.
    batch_size : int
    """
    variance = lr * noise / (batch_size * curvature * (2 - lr * curvature))
    return torch.where(lr * curvature < 2, variance, torch.inf)
