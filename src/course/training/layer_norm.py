# From docs/1-training/layer-norm.md, which is its source: edit there.  [2e8a38fe3f55]
# %% the-function-1
"""Layer normalization: each row by its own mean and variance, forward and backward."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def _standardize(
    x: Float[Tensor, "..."], normalized_shape: Sequence[int], eps: float
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return x̂, and 1 / s with axes of size 1; in float32 where `x` has 16 bits."""
    shape = tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ValueError(f"x of shape {tuple(x.shape)} does not end in {shape}")
    dims = tuple(range(-len(shape), 0))
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    centred = wide - wide.mean(dims, keepdim=True)
    rstd = torch.rsqrt(centred.square().mean(dims, keepdim=True) + eps)
    return centred * rstd, rstd


def layer_norm(
    x: Float[Tensor, "*shape"],
    normalized_shape: Sequence[int],
    weight: Float[Tensor, "*normalized"] | None = None,
    bias: Float[Tensor, "*normalized"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*shape"]:
    """Normalize over the last axes; equal to ``torch.nn.functional.layer_norm``.

    Parameters
    ----------
    x : Tensor of any shape that ends in `normalized_shape`
    normalized_shape : sequence of int
        Sizes of the axes that share a mean and a variance: ``(d,)`` for rows of length d.
    weight, bias : Tensor of shape `normalized_shape`, optional
        Multiplied with, and added to, the normalized entries.
    eps : float
        Added to the biased variance, inside the root.

    Returns
    -------
    Tensor of the shape and dtype of `x`
        Inputs of 16 bits are computed in float32, and rounded once, at the end.

    Raises
    ------
    ValueError
        If `x` does not end in `normalized_shape`, or that is empty.

    References
    ----------
    J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", 2016, arXiv 1607.06450.
    """
    y, _ = _standardize(x, normalized_shape, eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y.to(x.dtype)


# %% backward-in-three-terms-1
def layer_norm_backward(
    grad_y: Float[Tensor, "*shape"],
    x: Float[Tensor, "*shape"],
    normalized_shape: Sequence[int],
    weight: Float[Tensor, "*normalized"] | None = None,
    eps: float = 1e-5,
) -> tuple[
    Float[Tensor, "*shape"], Float[Tensor, "*normalized"], Float[Tensor, "*normalized"]
]:
    """Return the gradients of `x`, weight and bias, from that of the output.

    Parameters
    ----------
    grad_y : Tensor of the shape of `x`
    x, normalized_shape, weight, eps
        As in `layer_norm`. The bias does not enter.

    Returns
    -------
    grad_x : Tensor of the shape and dtype of `x`
    grad_weight, grad_bias : Tensor of shape `normalized_shape`
        Sums over all rows, in float32 where `x` has 16 bits.

    Raises
    ------
    ValueError
        As `layer_norm`.
    """
    x_hat, rstd = _standardize(x, normalized_shape, eps)
    dims = tuple(range(-len(normalized_shape), 0))
    grad_y = grad_y.to(x_hat.dtype)
    g = grad_y if weight is None else grad_y * weight
    along_ones = g.mean(dims, keepdim=True)
    along_x_hat = (g * x_hat).mean(dims, keepdim=True)
    grad_x = rstd * (g - along_ones - x_hat * along_x_hat)
    rows = (-1, *normalized_shape)
    grad_weight = (grad_y * x_hat).reshape(rows).sum(0)
    return grad_x.to(x.dtype), grad_weight, grad_y.reshape(rows).sum(0)


# %% the-layer-1
class LayerNorm(nn.Module):
    """Layer normalization with learned scale and shift, as ``torch.nn.LayerNorm``.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the last axes, which share a mean and a variance.
    eps : float
        Added to the variance, inside the root.
    elementwise_affine : bool
        Whether there are a weight and a bias at all.
    bias : bool
        Whether there is a bias beside the weight.
    device : torch.device or str, optional
    dtype : torch.dtype, optional

    Attributes
    ----------
    weight : Parameter of shape `normalized_shape`, or None
        Starts at 1.
    bias : Parameter of shape `normalized_shape`, or None
        Starts at 0.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        shape = [normalized_shape] if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        weight = torch.ones(self.normalized_shape, device=device, dtype=dtype)
        affine = elementwise_affine
        self.weight = nn.Parameter(weight) if affine else None
        self.bias = nn.Parameter(torch.zeros_like(weight)) if affine and bias else None

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Normalize the last axes, in training and in evaluation alike."""
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
