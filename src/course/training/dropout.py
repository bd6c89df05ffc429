# From docs/1-training/dropout.md, which is its source: edit there.  [660f41ee750c]
# %% zero-some-stretch-the-rest-1
"""Dropout: zero activations at random in training, and keep their mean."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def dropout(
    x: Float[Tensor, "*shape"],
    p: float = 0.5,
    training: bool = True,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Zero each entry with probability `p`, and divide the others by ``1 - p``.

    Parameters
    ----------
    x : Tensor of any shape
    p : float
        Probability of being zeroed, from 0 to 1.
    training : bool
        If False, return `x` itself.
    generator : Generator, optional
        Where the mask is drawn from; the global one by default. On a CPU the mask is
        that of ``torch.nn.functional.dropout`` in the same state.

    Raises
    ------
    ValueError
        If `p` is not between 0 and 1.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout:
    A Simple Way to Prevent Neural Networks from Overfitting", 2014.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, not {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0  # nothing is kept, and 0 / 0 is not a number
    scale = torch.empty_like(x).bernoulli_(1 - p, generator=generator) / (1 - p)
    return x * scale


class Dropout(nn.Module):
    """Dropout as a layer: acts in training mode, and is the identity after ``eval()``.

    Parameters
    ----------
    p : float
        Probability of being zeroed.

    Raises
    ------
    ValueError
        If `p` is not between 0 and 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p must be between 0 and 1, not {p}")
        self.p = p

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return `x`, with entries dropped if the layer is in training mode."""
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the setting, for ``print(model)``."""
        return f"p={self.p}"
