# From docs/0-foundations/gradient-descent.md, which is its source: edit there.  [4de9fbd2767e]
# %% what-a-slope-knows-4
"""Gradient descent, the curvature that limits its step, and a step that finds itself."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_descent(
    gradient: Callable[[Tensor], Tensor],
    start: Float[Tensor, "*shape"],
    lr: float,
    steps: int,
) -> Float[Tensor, "points *shape"]:
    """Step against the gradient, again and again.

    Parameters
    ----------
    gradient : callable
        Maps a point to the gradient there, of the same shape.
    start : Tensor of any shape
        Is not changed.
    lr : float
        Learning rate: the length of a step for a gradient of length 1.
    steps : int
        How many.

    Returns
    -------
    Tensor, shape (steps + 1, *shape)
        The path: the start, then the point after each step.

    Raises
    ------
    ValueError
        If a gradient has another shape than the point: it would broadcast.

    References
    ----------
    A. Cauchy, *Méthode générale pour la résolution des systèmes d'équations
    simultanées*, 1847.
    """
    path = [start]
    for _ in range(steps):
        x = path[-1]
        grad = gradient(x)
        if grad.shape != x.shape:
            raise ValueError(f"gradient of shape {grad.shape} at a point of shape {x.shape}")
        path.append(x - lr * grad)
    return torch.stack(path)


# %% curvature-without-a-matrix-1
def hessian_vector_product(
    gradient: Callable[[Tensor], Tensor],
    x: Float[Tensor, "*shape"],
    v: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Multiply the Hessian at `x` by `v`, from two gradients.

    The error is about ``eps ** (2 / 3)`` of the result where the third derivatives
    are not large; ``eps`` is the rounding error of the dtype of `x`.

    Parameters
    ----------
    gradient : callable
        Maps a point to the gradient there, of the same shape.
    x, v : Tensor of any shape
        A point, and a vector that is not zero.
    """
    h = torch.finfo(x.dtype).eps ** (1 / 3) / v.norm()
    return (gradient(x + h * v) - gradient(x - h * v)) / (2 * h)


def largest_curvature(
    gradient: Callable[[Tensor], Tensor],
    x: Float[Tensor, "*shape"],
    iterations: int = 200,
    seed: int = 0,
) -> float:
    """Eigenvalue of the Hessian at `x` that is the largest in absolute value.

    Near a minimum, gradient descent is stable for learning rates below 2 over it.

    Parameters
    ----------
    gradient : callable
        Maps a point to the gradient there, of the same shape.
    x : Tensor of any shape
        The point.
    iterations : int
        Of the power method; each costs two gradients. The error falls by the squared
        ratio of the two largest eigenvalues each time.
    seed : int
        Of the random vector that it begins with.
    """
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    for _ in range(iterations):
        v = hessian_vector_product(gradient, x, v / v.norm())
    unit = v / v.norm()
    return (unit * hessian_vector_product(gradient, x, unit)).sum().item()


# %% let-the-loss-choose-the-step-1
def backtracking_descent(
    loss: Callable[[Tensor], Tensor],
    gradient: Callable[[Tensor], Tensor],
    start: Float[Tensor, "*shape"],
    lr: float,
    steps: int,
    tolerance: float = 0.0,
) -> tuple[Float[Tensor, "points *shape"], list[float]]:
    """Gradient descent whose step is halved until it brings half of what it promised.

    Parameters
    ----------
    loss, gradient : callable
        Map a point to a number, and to the gradient of that number.
    start : Tensor of any shape
        Is not changed.
    lr : float
        The first rate to try, above 0; then twice the one that was last taken.
    steps : int
        At most so many.
    tolerance : float
        Stop where the norm of the gradient is not above this.

    Returns
    -------
    path : Tensor, shape (points, *shape)
        The start, then the point after each step.
    rates : list of float
        The learning rate of each step.

    Raises
    ------
    ValueError
        If `lr` is not above 0, or the loss is not a number, however short the step.

    References
    ----------
    L. Armijo, *Minimization of functions having Lipschitz continuous first partial
    derivatives*, 1966.
    """
    if not lr > 0:
        raise ValueError(f"the first rate must be above 0, not {lr}")
    path, rates, height = [start], [], loss(start)
    for _ in range(steps):
        x, grad = path[-1], gradient(path[-1])
        slope = grad.square().sum()
        if slope.sqrt() <= tolerance:
            break
        while not (trial := loss(x - lr * grad)) <= height - lr * slope / 2:
            lr = lr / 2
            if lr == 0:
                raise ValueError(f"the loss is {trial.item()} near {x}")
        path.append(x - lr * grad)
        rates.append(lr)
        lr, height = 2 * lr, trial
    return torch.stack(path), rates
