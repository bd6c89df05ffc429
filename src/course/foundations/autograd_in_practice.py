# From docs/0-foundations/autograd-in-practice.md, which is its source: edit there.  [dbedcc430beb]
# %% the-referee-nudge-and-look-3
"""Gradients judged by differences: slow, inexact, and independent of autograd."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def finite_difference(
    f: Callable[[Tensor], Tensor], x: Float[Tensor, "*shape"], h: float | None = None
) -> Float[Tensor, "*shape"]:
    """Estimate a gradient by central differences, from values of `f` alone.

    Takes two evaluations for each entry of `x`.

    Parameters
    ----------
    f : callable
        From a tensor like `x` to a single number.
    x : Tensor
        Where to differentiate. It is not changed.
    h : float, optional
        The step, for an entry of size up to 1; relative beyond. The cube root of the
        dtype's epsilon by default, which balances truncation, of order ``h**2``, against
        rounding, of order ``epsilon / h``, for a function that varies on a scale of 1.

    Raises
    ------
    RuntimeError
        If `f` returns more than one number.
    """
    if h is None:
        h = torch.finfo(x.dtype).eps ** (1 / 3)
    gradient = torch.empty_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.detach().clone(), x.detach().clone()
        step = h * max(1.0, abs(x[index].item()))
        up[index] += step
        down[index] -= step
        taken = (up[index] - down[index]).item()  # 2 * step, as the dtype rounds it
        gradient[index] = (f(up).item() - f(down).item()) / taken
    return gradient


# %% one-check-for-every-gradient-1
def check_gradient(
    f: Callable[..., Tensor],
    *inputs: Float[Tensor, "..."],
    rtol: float = 1e-6,
    atol: float = 1e-8,
) -> None:
    """Raise unless autograd's gradient of `f` agrees with central differences.

    Where `f` returns several numbers, a weighted sum of them is differentiated, with
    weights drawn once: a vector-Jacobian product.

    Parameters
    ----------
    f : callable
        From tensors like `inputs` to a tensor. It must return the same each time.
    *inputs : Tensor, float64
        Where to differentiate: away from kinks, and with values of `f` around 1.
    rtol, atol : float
        The two may differ in each entry by ``atol + rtol * abs(difference)``.

    Raises
    ------
    AssertionError
        Naming the first input and entry where they differ.
    ValueError
        If an input is not float64: differences in float32 cannot tell.

    See Also
    --------
    torch.autograd.gradcheck : builds the whole Jacobian, entry by entry.
    """
    if any(x.dtype != torch.float64 for x in inputs):
        raise ValueError(f"need float64 inputs, got {[str(x.dtype) for x in inputs]}")
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = f(*leaves)
    # Not ones: the entries of a softmax sum to 1, whatever its backward pass does.
    v = 0.5 + torch.rand(out.shape, generator=torch.Generator().manual_seed(0))
    found = torch.autograd.grad(out, leaves, v.to(out), materialize_grads=True)
    for k, gradient in enumerate(found):

        def weighted(x: Tensor, k: int = k) -> Tensor:
            return (v * f(*leaves[:k], x, *leaves[k + 1 :])).sum()

        estimate = finite_difference(weighted, leaves[k])
        bad = ~torch.isclose(gradient, estimate, rtol, atol)
        if bad.any():
            index = tuple(bad.nonzero()[0].tolist())
            raise AssertionError(
                f"input {k}, entry {index}: autograd says {gradient[index].item():.9g}, "
                f"differences {estimate[index].item():.9g}"
            )
