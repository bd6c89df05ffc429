# From docs/1-training/residual-connections.md, which is its source: edit there.  [41933777d058]
# %% add-instead-of-replace-1
"""Residual blocks, the deep network of them, and the paths of its gradient."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course.training.layer_norm import LayerNorm
from course.training.weight_init import kaiming_normal_


class ResidualBlock(nn.Module):
    """Add a branch to the input: ``x + linear(activation(norm(x)))``.

    Parameters
    ----------
    in_features, out_features : int
        Where they differ, a matrix without bias takes the place of the bare `x`.
    activation : callable
        Called without arguments: ``nn.ReLU``.
    norm : callable
        Called with `in_features`: `LayerNorm`, or ``nn.Identity`` for none.
    scale : float
        Factor on the branch's initial weights, which are He's otherwise. With 0 the block
        starts as the identity.

    References
    ----------
    K. He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        norm: Callable[[int], nn.Module] = LayerNorm,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        linear = nn.Linear(in_features, out_features)
        kaiming_normal_(linear.weight.data).mul_(scale)
        nn.init.zeros_(linear.bias)
        self.branch = nn.Sequential(norm(in_features), activation(), linear)
        self.skip: nn.Module = nn.Identity()
        if in_features != out_features:
            self.skip = nn.Linear(in_features, out_features, bias=False)
            kaiming_normal_(self.skip.weight, nonlinearity="linear")  # keeps the size of x

    def forward(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Return a new tensor; `x` is left as it is."""
        skipped: Tensor = self.skip(x)
        return skipped + self.branch(x)


def residual_mlp(
    depth: int,
    activation: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] = LayerNorm,
    width: int = 64,
    scale: float = 1.0,
) -> nn.Sequential:
    """Build a residual network for the digits: 64 → `width` × `depth` → 10.

    Parameters
    ----------
    depth : int
        Number of `ResidualBlock`, each with one linear layer: with as many as `deep_mlp`.
    activation, norm, scale
        As in `ResidualBlock`. A last `norm` stands before the output layer.
    width : int
        Features of the residual stream.
    """
    widths = [64] + [width] * depth
    blocks = [
        ResidualBlock(n_in, n_out, activation, norm, scale)
        for n_in, n_out in pairwise(widths)
    ]
    return nn.Sequential(*blocks, norm(width), nn.Linear(width, 10))


# %% one-plus-1
def gradient_by_path_length(
    jacobians: Iterable[Float[Tensor, "*batch d d"]], gradient: Float[Tensor, "*batch d"]
) -> Float[Tensor, "lengths *batch d"]:
    """Split the gradient at a residual stream's beginning by the branches it has passed.

    Parameters
    ----------
    jacobians : iterable of Tensor, shapes (..., d, d)
        That of each branch at its input, the first block first.
    gradient : Tensor, shape (..., d)
        With respect to the end of the stream.

    Returns
    -------
    Tensor, shape (blocks + 1, ..., d)
        Entry k is the sum over all paths through exactly k branches; entry 0 is `gradient`.
        Their sum is the whole gradient.

    References
    ----------
    A. Veit, M. Wilber and S. Belongie, "Residual Networks Behave Like Ensembles of
    Relatively Shallow Networks", 2016, arXiv 1605.06431.
    """
    by_length = gradient[None]
    for jacobian in reversed(list(jacobians)):
        passed = torch.einsum("...oi,k...o->k...i", jacobian, by_length)
        none = torch.zeros_like(gradient)[None]
        by_length = torch.cat([by_length, none]) + torch.cat([none, passed])
    return by_length
