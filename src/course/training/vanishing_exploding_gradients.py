# From docs/1-training/vanishing-exploding-gradients.md, which is its source: edit there.  [eb7a7aace5a5]
# %% a-product-of-jacobians-1
"""Products of Jacobians, which vanish or explode, and gradient clipping."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course.foundations.activations import slopes_by_layer


def layer_jacobians(
    model: nn.Sequential, x: Float[Tensor, "batch d"]
) -> list[Float[Tensor, "batch _ _"]]:
    """Jacobian of each hidden layer's outputs with respect to its inputs, at `x`.

    Parameters
    ----------
    model : Sequential
        Each ``nn.Linear`` is followed by an activation that acts on every number by itself;
        a last one without activation, as in `deep_mlp`, is left out.
    x : Tensor
        Inputs.

    Returns
    -------
    list of Tensor, shapes (batch, out, in)
        The first layer first: the Jacobian of all is the last @ ... @ the first.
    """
    linears = [layer for layer in model if isinstance(layer, nn.Linear)]
    # Slope of unit i times row i of the weights: diag(slopes) @ W without the diagonal.
    return [
        slopes[..., None] * linear.weight.detach()
        for slopes, linear in zip(slopes_by_layer(model, x), linears, strict=False)
    ]


# %% the-mean-is-not-the-typical-1
def log_norms(
    factors: Iterable[Float[Tensor, "*batch out in"]], vector: Float[Tensor, "*batch d"]
) -> Float[Tensor, "depth *batch"]:
    """Log of the norm of a vector after each of several matrices, relative to its start.

    Neither underflows nor overflows, however many the factors: the vector is brought back
    to norm 1 after each of them.

    Parameters
    ----------
    factors : iterable of Tensor
        Applied in this order. For a gradient give transposed Jacobians, the last first.
    vector : Tensor
        Not zero.
    """
    vector = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    logs = []
    for factor in factors:
        vector = (factor @ vector[..., None])[..., 0]
        norm = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
        vector = vector / norm
        logs.append(norm[..., 0].log())
    return torch.stack(logs).cumsum(0)


def gaussian_lyapunov(n: int, std: float) -> Float[Tensor, "{n}"]:
    """Lyapunov exponents of products of Gaussian n × n matrices, the largest first.

    The i-th singular value of a product of L of them grows like ``exp(L * exponent[i])``.

    Parameters
    ----------
    n : int
        Rows and columns.
    std : float
        Standard deviation of the independent entries, whose mean is 0.

    Returns
    -------
    Tensor, shape (n,), float64

    References
    ----------
    C. M. Newman, "The distribution of Lyapunov exponents: exact results for random
    matrices", 1986.
    """
    dimensions = torch.arange(n, 0, -1, dtype=torch.float64)
    return math.log(std) + (math.log(2) + torch.digamma(dimensions / 2)) / 2


# %% a-cliff-and-a-shorter-step-3
@torch.no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Float[Tensor, ""]:
    """Shorten the gradients of all parameters, as one vector, to `max_norm`, in place.

    Call it after ``backward`` and before the optimizer's step.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        A gradient that is shorter stays as it is. With ``inf`` none is changed: it measures.
    norm_type : float
        p of the p-norm; ``inf`` for the largest entry.
    error_if_nonfinite : bool
        Raise instead of multiplying by a norm that is NaN or infinite.

    Returns
    -------
    Tensor, shape ()
        The norm *before* clipping. On a GPU nothing waits for it until it is read.

    Raises
    ------
    RuntimeError
        If the norm is NaN or infinite and `error_if_nonfinite` is set.

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural
    networks", 2013, arXiv 1211.5063.
    """
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    norms = [torch.linalg.vector_norm(grad, norm_type) for grad in grads]
    total = torch.linalg.vector_norm(torch.stack(norms), norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(f"the gradient's norm is {total.item()}: nothing was clipped")
    # Multiply by 1 rather than ask "is it too long?": the question would wait for a GPU.
    scale = (max_norm / (total + 1e-6)).clamp(max=1)
    for grad in grads:
        grad.mul_(scale)
    return total
