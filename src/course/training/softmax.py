# From docs/1-training/softmax.md, which is its source: edit there.  [9189d48410b0]
# %% only-differences-count-2
"""Softmax, log-softmax and log-sum-exp: stable, backwards, and in one pass."""

import torch
from jaxtyping import Float
from torch import Tensor


def _widen(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _shift(best: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What to subtract where `best` is the maximum: inf − inf would be NaN."""
    return best.detach().masked_fill(best.isinf(), 0.0)


def softmax(input: Float[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape"]:
    """Probabilities in proportion to ``exp(input)``, which sum to 1 along `dim`.

    Parameters
    ----------
    input : Tensor of any shape
        Logits. One that is −inf has probability 0; a row of nothing else, or one with
        +inf, gives NaN. Half precision is computed in float32, and rounded at the end.
    dim : int
        The axis along which the alternatives lie.

    References
    ----------
    J. S. Bridle, "Probabilistic interpretation of feedforward classification network
    outputs", 1990, which gave the function its name.
    """
    x = _widen(input)
    # The shift cancels out of the result, and so out of the gradient.
    exps = (x - x.detach().amax(dim, keepdim=True)).exp()
    return (exps / exps.sum(dim, keepdim=True)).to(input.dtype)


def logsumexp(
    input: Float[Tensor, "*shape"], dim: int, keepdim: bool = False
) -> Float[Tensor, "..."]:
    """``log(exp(input).sum(dim))`` for inputs of any size; −inf where all are −inf.

    Parameters are those of `softmax`; with `keepdim` the axis stays, of length 1.
    """
    x = _widen(input)
    shift = _shift(x.amax(dim, keepdim=True))
    result = shift + (x - shift).exp().sum(dim, keepdim=True).log()
    return (result if keepdim else result.squeeze(dim)).to(input.dtype)


def log_softmax(input: Float[Tensor, "*shape"], dim: int) -> Float[Tensor, "*shape"]:
    """Logarithm of `softmax`, finite also where the probability underflows to 0.

    Parameters are those of `softmax`.
    """
    x = _widen(input)
    x = x - x.detach().amax(dim, keepdim=True)
    return (x - x.exp().sum(dim, keepdim=True).log()).to(input.dtype)


# %% the-jacobian-2
def softmax_backward(
    grad: Float[Tensor, "*shape"], output: Float[Tensor, "*shape"], dim: int
) -> Float[Tensor, "*shape"]:
    """Gradient of the logits, from that of the probabilities.

    Parameters
    ----------
    grad : Tensor of any shape
        Gradient of the loss with respect to `output`.
    output : Tensor of the same shape
        What `softmax` returned; its input is not needed.
    dim : int
    """
    return output * (grad - (output * grad).sum(dim, keepdim=True))


# %% one-pass-3
Normalizer = tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]


def normalizer(scores: Float[Tensor, "*batch n"]) -> Normalizer:
    """Maximum m of the last axis, and the sum of ``exp(scores - m)``.

    The pair stands for the number ``sum * exp(m)``; that of nothing is (−inf, 0).
    """
    best = scores.amax(-1)
    return best, (scores - _shift(best).unsqueeze(-1)).exp().sum(-1)


def merge_normalizers(a: Normalizer, b: Normalizer) -> Normalizer:
    """Normaliser of two pieces of a row from those of the pieces."""
    best = torch.maximum(a[0], b[0])
    shift = _shift(best)
    return best, a[1] * (a[0] - shift).exp() + b[1] * (b[0] - shift).exp()


def online_softmax(
    input: Float[Tensor, "*batch n"], block_size: int
) -> Float[Tensor, "*batch n"]:
    """Softmax along the last axis that reads each block twice: to sum, to divide.

    Parameters
    ----------
    input : Tensor, shape (..., n)
        As in `softmax`.
    block_size : int
        How many numbers of a row are looked at together.

    References
    ----------
    M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018.
    """
    blocks = _widen(input).split(block_size, -1)
    state = normalizer(blocks[0])
    for block in blocks[1:]:
        state = merge_normalizers(state, normalizer(block))
    best, total = (part.unsqueeze(-1) for part in state)
    result = [(block - best).exp() / total for block in blocks]
    return torch.cat(result, -1).to(input.dtype)
