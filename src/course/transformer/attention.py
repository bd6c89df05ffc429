# From docs/3-transformer/scaled-dot-product-attention.md, which is its source: edit there.  [d8590c86388f]
# %% the-function-2
"""Scaled dot-product attention: softmax(Q Kᵀ / √d) V, forward and backward."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def causal_mask(
    queries: int, keys: int, device: torch.device | None = None
) -> Bool[Tensor, "queries keys"]:
    """Which keys each query may attend to when no query sees a later key.

    The last query stands at the last key: query i sees keys up to i + keys − queries.

    Returns
    -------
    Tensor, shape (queries, keys)
        True where a query may attend. If queries > keys, the first rows are empty.
    """
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return allowed.tril(keys - queries)


# %% the-function-4
def attention_weights(
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "... keys d"],
    *,
    mask: Bool[Tensor, "... #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[Float[Tensor, "*batch queries keys"], Float[Tensor, "*batch queries"]]:
    """Softmax over the keys of the scaled scores, and its log-sum-exp.

    Parameters are those of :func:`attention`. Half precision gives float32 results.

    Returns
    -------
    weights : Tensor, shape (..., queries, keys)
        Each row sums to 1, or is 0 where a query has no key.
    lse : Tensor, shape (..., queries)
        ln of the sum over the keys of exp(score); −inf where a query has no key.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", 2017, equation 1.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    # Scale before the product: queries × d multiplications rather than queries × keys,
    # and the product of two float16 vectors is the first thing to overflow.
    scores = (scale * query) @ _share_heads(key, query).mT
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if causal:
        earlier = causal_mask(query.shape[-2], key.shape[-2], query.device)
        mask = earlier if mask is None else mask & earlier
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    lse = scores.logsumexp(-1)
    shift = lse.masked_fill(lse == -torch.inf, 0.0)  # −inf − (−inf) would be NaN
    return (scores - shift.unsqueeze(-1)).exp(), lse


def attention(
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "... keys d"],
    value: Float[Tensor, "... keys d_v"],
    *,
    mask: Bool[Tensor, "... #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Float[Tensor, "*batch queries d_v"]:
    """Weighted mean of the values: softmax(scale · query keyᵀ) value.

    Equal to ``torch.nn.functional.scaled_dot_product_attention`` with
    ``enable_gqa=True``, but for `causal`, which puts the last query at the last key.

    Parameters
    ----------
    query, key, value : Tensor
        Any leading dimensions, those of the query being the result's; dimension −3, if
        there is one, is the heads. Key and value may have fewer heads, if their number
        divides the query's: consecutive query heads then share one.
    mask : Tensor of bool, broadcast over the leading dimensions
        True where a query may attend.
    causal : bool
        Besides the mask, let no query see a later key (see :func:`causal_mask`).
    scale : float, optional
        Factor of the scores, 1/√d by default.

    Returns
    -------
    Tensor, shape (..., queries, d_v)
        Zeros for a query that may attend to nothing.

    Raises
    ------
    ValueError
        If the number of key/value heads does not divide that of the query heads.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", 2017, equation 1.
    J. Ainslie et al., "GQA: training generalized multi-query transformer models from
    multi-head checkpoints", 2023.
    """
    weights, _ = attention_weights(query, key, mask=mask, causal=causal, scale=scale)
    return weights.to(value.dtype) @ _share_heads(value, query)


def _share_heads(
    x: Float[Tensor, "... keys width"], query: Float[Tensor, "..."]
) -> Float[Tensor, "... keys width"]:
    """Repeat each key or value head for the query heads that share it."""
    if min(x.ndim, query.ndim) < 3 or x.shape[-3] == query.shape[-3]:
        return x
    heads, shared = query.shape[-3], x.shape[-3]
    if heads % shared:
        raise ValueError(f"{heads} query heads cannot share {shared} key/value heads")
    return x.repeat_interleave(heads // shared, dim=-3)


# %% the-backward-pass-by-hand-1
def attention_backward(
    grad_out: Float[Tensor, "*batch queries d_v"],
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "*shared keys d"],
    value: Float[Tensor, "*shared keys d_v"],
    *,
    mask: Bool[Tensor, "... #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> tuple[
    Float[Tensor, "*batch queries d"],
    Float[Tensor, "*shared keys d"],
    Float[Tensor, "*shared keys d_v"],
]:
    """Gradients of :func:`attention` with respect to query, key and value.

    The weights are computed again rather than kept, as in flash attention. Leading
    dimensions must be equal, but for the number of heads.

    Parameters
    ----------
    grad_out : Tensor, shape (..., queries, d_v)
        Gradient of the loss with respect to the output.

    Returns
    -------
    grad_query, grad_key, grad_value : Tensor
        Of the shapes of `query`, `key` and `value`.

    References
    ----------
    T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with
    IO-awareness", 2022, appendix B.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    weights, _ = attention_weights(query, key, mask=mask, causal=causal, scale=scale)
    weights = weights.to(query.dtype)
    grad_value = weights.mT @ grad_out
    grad_weights = grad_out @ _share_heads(value, query).mT
    mean = (weights * grad_weights).sum(-1, keepdim=True)  # = row sum of out * grad_out
    grad_scores = weights * (grad_weights - mean)
    grad_query = scale * grad_scores @ _share_heads(key, query)
    grad_key = scale * grad_scores.mT @ query
    return grad_query, _gather_heads(grad_key, key), _gather_heads(grad_value, value)


def _gather_heads(
    grad: Float[Tensor, "... keys width"], x: Float[Tensor, "*shared keys width"]
) -> Float[Tensor, "*shared keys width"]:
    """Sum the gradients of the query heads that share a head of `x`."""
    if grad.shape == x.shape:
        return grad
    return grad.unflatten(-3, (x.shape[-3], -1)).sum(-3)
