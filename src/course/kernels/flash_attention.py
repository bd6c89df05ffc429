# From docs/5-scale/flash-attention.md, which is its source: edit there.  [0b99d75472a6]
# %% tiles-of-keys-tiles-of-queries-3
"""Flash attention: exact attention by tiles, without the matrix of all scores."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from course.transformer.attention import _gather_heads, _share_heads


def flash_attention_forward(
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "*shared keys d"],
    value: Float[Tensor, "*shared keys d_v"],
    *,
    mask: Bool[Tensor, "... #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
    tile: tuple[int, int] = (128, 128),
) -> tuple[Float[Tensor, "*batch queries d_v"], Float[Tensor, "*batch queries"]]:
    """Output and log-sum-exp of attention, in memory linear in queries and keys.

    Parameters are those of :func:`flash_attention`. Half precision is summed in float32.

    Returns
    -------
    out : Tensor, shape (..., queries, d_v)
        Zeros for a query that may attend to nothing.
    lse : Tensor, shape (..., queries)
        ln of the sum over the keys of exp(score); −inf where a query has no key.

    References
    ----------
    M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", 2018.
    T. Dao, "FlashAttention-2: faster attention with better parallelism and work
    partitioning", 2023, algorithm 1.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    dtype = torch.promote_types(query.dtype, torch.float32)
    out = query.new_empty(*query.shape[:-1], value.shape[-1])
    lse = query.new_empty(query.shape[:-1], dtype=dtype)
    for rows in _tiles(query.shape[-2], tile[0]):
        best = torch.full_like(lse[..., rows], -torch.inf)
        total = torch.zeros_like(best)
        acc = torch.zeros_like(out[..., rows, :], dtype=dtype)
        for cols in _tiles(_visible(query, key, rows, causal), tile[1]):
            scores = _scores(query, key, rows, cols, mask, causal, scale)
            new = torch.maximum(best, scores.amax(-1))
            shift = new.masked_fill(new == -torch.inf, 0.0)  # −inf − (−inf) is NaN
            decay, weights = (best - shift).exp(), (scores - shift.unsqueeze(-1)).exp()
            v = _share_heads(value[..., cols, :], query)
            total = decay * total + weights.sum(-1)
            acc = decay.unsqueeze(-1) * acc + weights.to(v.dtype) @ v
            best = new
        lse[..., rows] = best + total.log()
        out[..., rows, :] = acc / total.masked_fill(total == 0, 1.0).unsqueeze(-1)
    return out, lse


# %% tiles-of-keys-tiles-of-queries-4
def _tiles(stop: int, size: int) -> Iterator[slice]:
    return (slice(i, min(i + size, stop)) for i in range(0, stop, size))


def _visible(query: Tensor, key: Tensor, rows: slice, causal: bool) -> int:
    """How many keys, from the first on, the last of these queries may see."""
    keys = key.shape[-2]
    return min(keys, rows.stop + keys - query.shape[-2]) if causal else keys


def _scores(
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "*shared keys d"],
    rows: slice,
    cols: slice,
    mask: Bool[Tensor, "..."] | None,
    causal: bool,
    scale: float,
) -> Float[Tensor, "*batch rows cols"]:
    """One tile of scores, −inf where a query may not attend."""
    queries, keys = query.shape[-2], key.shape[-2]
    scores = (scale * query[..., rows, :]) @ _share_heads(key[..., cols, :], query).mT
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:
        allowed = mask.expand(*mask.shape[:-2], queries, keys)[..., rows, cols]
        scores = scores.masked_fill(~allowed, -torch.inf)
    if causal:  # query i sees keys up to i + keys − queries
        diagonal = rows.start + keys - queries - cols.start
        later = torch.ones_like(scores, dtype=torch.bool).triu(diagonal + 1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores


# %% a-backward-pass-that-remembers-one-number-per-query-1
def flash_attention_backward(
    grad_out: Float[Tensor, "*batch queries d_v"],
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "*shared keys d"],
    value: Float[Tensor, "*shared keys d_v"],
    out: Float[Tensor, "*batch queries d_v"],
    lse: Float[Tensor, "*batch queries"],
    *,
    mask: Bool[Tensor, "... #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
    tile: tuple[int, int] = (128, 128),
) -> tuple[
    Float[Tensor, "*batch queries d"],
    Float[Tensor, "*shared keys d"],
    Float[Tensor, "*shared keys d_v"],
]:
    """Gradients with respect to query, key and value, from what the forward pass returned.

    Each tile of weights is computed again, as exp(score − lse).

    Parameters
    ----------
    grad_out : Tensor, shape (..., queries, d_v)
        Gradient of the loss with respect to `out`.
    out, lse : Tensor
        The results of :func:`flash_attention_forward`, whose parameters the others are.

    Returns
    -------
    grad_query, grad_key, grad_value : Tensor
        Of the shapes of `query`, `key` and `value`.

    References
    ----------
    T. Dao, "FlashAttention-2: faster attention with better parallelism and work
    partitioning", 2023, algorithm 2.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    grads = [torch.zeros_like(x, dtype=lse.dtype) for x in (query, key, value)]
    grad_query, grad_key, grad_value = grads
    mean = (out * grad_out).sum(-1, keepdim=True, dtype=lse.dtype)
    shift = lse.masked_fill(lse == -torch.inf, 0.0).unsqueeze(-1)
    for rows in _tiles(query.shape[-2], tile[0]):
        q, grad_o = query[..., rows, :], grad_out[..., rows, :]
        for cols in _tiles(_visible(query, key, rows, causal), tile[1]):
            scores = _scores(query, key, rows, cols, mask, causal, scale)
            weights = (scores - shift[..., rows, :]).exp()
            k, v = key[..., cols, :], value[..., cols, :]
            grad_weights = grad_o @ _share_heads(v, query).mT
            grad_scores = scale * weights * (grad_weights - mean[..., rows, :])
            weights, grad_scores = weights.to(q.dtype), grad_scores.to(q.dtype)
            grad_query[..., rows, :] += grad_scores @ _share_heads(k, query)
            grad_key[..., cols, :] += _gather_heads(grad_scores.mT @ q, k)
            grad_value[..., cols, :] += _gather_heads(weights.mT @ grad_o, v)
    return grad_query.to(query.dtype), grad_key.to(key.dtype), grad_value.to(value.dtype)


# %% a-backward-pass-that-remembers-one-number-per-query-2
from typing import Any

from torch.autograd.function import once_differentiable


class _FlashAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: Any
    ) -> Tensor:
        out, lse = flash_attention_forward(query, key, value, mask=mask, **options)
        ctx.save_for_backward(query, key, value, mask, out, lse)
        ctx.options = options
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> Any:
        query, key, value, mask, out, lse = ctx.saved_tensors
        inputs = grad_out, query, key, value, out, lse
        grads = flash_attention_backward(*inputs, mask=mask, **ctx.options)
        return *grads, None, None


def flash_attention(
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "*shared keys d"],
    value: Float[Tensor, "*shared keys d_v"],
    *,
    mask: Bool[Tensor, "... #queries #keys"] | None = None,
    causal: bool = False,
    scale: float | None = None,
    tile: tuple[int, int] = (128, 128),
) -> Float[Tensor, "*batch queries d_v"]:
    """:func:`course.transformer.attention.attention`, in linear memory.

    Parameters
    ----------
    query, key, value : Tensor
        Equal leading dimensions; only in dimension −3, the heads, may key and value have
        fewer, if their number divides the query's.
    mask : Tensor of bool, broadcast over the leading dimensions
        True where a query may attend.
    causal : bool
        Besides the mask, let no query see a later key; the last stands at the last key.
    scale : float, optional
        Factor of the scores, 1/√d by default.
    tile : (int, int)
        Queries and keys of a tile.

    Returns
    -------
    Tensor, shape (..., queries, d_v)
        Zeros for a query that may attend to nothing. Differentiable once.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    References
    ----------
    T. Dao et al., "FlashAttention: fast and memory-efficient exact attention with
    IO-awareness", 2022.
    """
    _check_shapes(query, key, value)
    options = {"causal": causal, "scale": scale, "tile": tile}
    return _FlashAttention.apply(query, key, value, mask, options)


def _check_shapes(query: Tensor, key: Tensor, value: Tensor) -> None:
    shapes = [tuple(x.shape) for x in (query, key, value)]
    if min(map(len, shapes)) < 2 or len(set(map(len, shapes))) > 1:
        raise ValueError(f"query, key and value need as many dimensions: {shapes}")
    if key.shape[:-1] != value.shape[:-1] or query.shape[-1] != key.shape[-1]:
        raise ValueError(f"each key needs a value, and the width of the queries: {shapes}")
    if query.shape[:-3] != key.shape[:-3]:
        raise ValueError(f"leading dimensions before the heads differ: {shapes}")
    if query.ndim > 2 and query.shape[-3] % key.shape[-3]:
        raise ValueError(f"key heads do not divide query heads: {shapes}")


# %% programs-on-tiles-1
import inspect
import math
from collections.abc import Callable
from functools import cache

try:
    import triton
    import triton.language as tl
    from triton.language import constexpr
    from triton.runtime.interpreter import InterpretedFunction
except ImportError:  # no Triton for this system: the PyTorch part works without it
    triton, constexpr = None, int


@cache
def launcher(kernel: Callable[..., None], device_type: str) -> Any:
    """A Triton kernel, interpreted for tensors on a CPU, compiled for those on a GPU.

    ``@triton.jit`` makes that choice when Triton is first imported (``TRITON_INTERPRET=1``
    must be set before), for the whole process, and for functions such as ``tl.max`` along
    with it. Here each launch chooses, so a kernel must get by with Triton's primitives.

    Parameters
    ----------
    kernel
        A function without a decorator, in a module that imports ``triton.language as tl``.
    device_type
        ``tensor.device.type`` of its arguments.

    Returns
    -------
    A function to be launched as ``launcher(kernel, type)[programs](arguments)``.

    Raises
    ------
    RuntimeError
        Where Triton is not installed.
    """
    if triton is None:
        raise RuntimeError("Triton is not installed; on Linux: pip install triton")
    function = inspect.unwrap(kernel)  # a test may have wrapped it to check its arguments
    return InterpretedFunction(function) if device_type == "cpu" else triton.jit(function)


# %% the-kernel-1
def attention_kernel(
    query: "Tensor",
    key: "Tensor",
    value: "Tensor",
    out: "Tensor",
    lse: "Tensor",
    n: int,
    m: int,
    group: int,
    scale: float,
    d: constexpr,
    d_v: constexpr,
    CAUSAL: constexpr,
    QUERIES: constexpr,
    KEYS: constexpr,
    D: constexpr,
    D_V: constexpr,
) -> None:
    """One tile of queries of one head, over all keys that it may see.

    Tensors are contiguous, of shapes (heads, n or m, width); `group` query heads share a
    key head. Names in capitals are sizes of tiles: powers of two, known to the compiler.
    """
    tiles = (n + QUERIES - 1) // QUERIES
    first = tl.program_id(0) % tiles * QUERIES
    head = (tl.program_id(0) // tiles).to(tl.int64)  # heads × n × d may exceed 2³¹
    query += head * n * d
    key += head // group * m * d
    value += head // group * m * d_v
    out += head * n * d_v
    lse += head * n

    row, dim, dim_v = first + tl.arange(0, QUERIES), tl.arange(0, D), tl.arange(0, D_V)
    q_mask = (row < n)[:, None] & (dim < d)[None, :]
    q = tl.load(query + row[:, None] * d + dim[None, :], mask=q_mask, other=0.0)
    best = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.full([QUERIES], 0.0, tl.float32)
    acc = tl.full([QUERIES, D_V], 0.0, tl.float32)
    stop = m
    if CAUSAL:  # later keys are in the future of the whole tile
        stop = tl.minimum(m, first + QUERIES + m - n)
    for start in range(0, stop, KEYS):
        col = start + tl.arange(0, KEYS)
        k_mask = (dim < d)[:, None] & (col < m)[None, :]  # transposed by its addresses
        k = tl.load(key + dim[:, None] + col[None, :] * d, mask=k_mask, other=0.0)
        scores = tl.dot(q, k, input_precision="ieee") * scale  # in float32
        allowed = (col < m)[None, :]
        if CAUSAL:
            allowed = allowed & (col[None, :] <= row[:, None] + m - n)
        scores = tl.where(allowed, scores, float("-inf"))
        # What tl.max and tl.sum do, in a form that `launcher` can interpret.
        highest = tl.reduce(scores, 1, tl.standard._elementwise_max)
        new = tl.maximum(best, highest)
        shift = tl.where(new == float("-inf"), 0.0, new)
        decay, weights = tl.exp(best - shift), tl.exp(scores - shift[:, None])
        v_mask = (col < m)[:, None] & (dim_v < d_v)[None, :]
        v = tl.load(value + col[:, None] * d_v + dim_v[None, :], mask=v_mask, other=0.0)
        total = decay * total + tl.reduce(weights, 1, tl.standard._sum_combine)
        new_acc = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
        acc = decay[:, None] * acc + new_acc
        best = new
    total = tl.where(total == 0.0, 1.0, total)
    out_mask = (row < n)[:, None] & (dim_v < d_v)[None, :]
    out_tile = out + row[:, None] * d_v + dim_v[None, :]
    tl.store(out_tile, acc / total[:, None], mask=out_mask)
    tl.store(lse + row, best + tl.log(total), mask=row < n)


# %% the-kernel-2
def flash_attention_triton(
    query: Float[Tensor, "*batch queries d"],
    key: Float[Tensor, "*shared keys d"],
    value: Float[Tensor, "*shared keys d_v"],
    *,
    causal: bool = False,
    scale: float | None = None,
    tile: tuple[int, int] | None = None,
) -> tuple[Float[Tensor, "*batch queries d_v"], Float[Tensor, "*batch queries"]]:
    """:func:`flash_attention_forward` without a mask, as one Triton kernel.

    Parameters
    ----------
    query, key, value : Tensor of float16, bfloat16 or float32
        As in :func:`flash_attention`, with d and d_v up to 128. On a GPU the kernel is
        compiled; on a CPU it is interpreted, which is slow, and not for bfloat16.
    tile : (int, int), optional
        Queries and keys of a tile, powers of two from 16 on.

    Returns
    -------
    out : Tensor, shape (..., queries, d_v)
        Zeros for a query that may attend to nothing.
    lse : Tensor of float32, shape (..., queries)
        ln of the sum over the keys of exp(score); −inf where a query has no key.

    Raises
    ------
    RuntimeError
        Where Triton is not installed.
    ValueError
        If the shapes do not fit together, for a width, type or tile that the kernel does
        not take, and for inputs that need a gradient, since there is no backward pass.
    """
    _check_shapes(query, key, value)
    dtypes = {x.dtype for x in (query, key, value)}
    half, single = {torch.float16, torch.bfloat16}, {torch.float32}
    if len(dtypes) > 1 or not dtypes <= half | single:
        raise ValueError(f"need one of float16, bfloat16 and float32, got {dtypes}")
    if dtypes == {torch.bfloat16} and query.device.type == "cpu":
        raise ValueError("Triton's interpreter has no bfloat16: use float32 on a CPU")
    if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        raise ValueError("no backward pass: use flash_attention, or torch.no_grad()")
    (n, d), (m, d_v) = query.shape[-2:], value.shape[-2:]
    if max(d, d_v) > 128:
        raise ValueError(f"widths {d} and {d_v}: the kernel's tiles end at 128")
    if tile is None:
        tile = (128, 64) if dtypes <= half else (32, 32)
    if any(size < 16 or size & (size - 1) for size in tile):
        raise ValueError(f"tiles are powers of two from 16 on, not {tile}")

    q, k, v = (
        x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]).contiguous()
        for x in (query, key, value)
    )
    out, lse = q.new_empty(len(q), n, d_v), q.new_empty(len(q), n, dtype=torch.float32)
    programs = len(q) * -(-n // tile[0])
    widths = [max(16, 1 << (width - 1).bit_length()) for width in (d, d_v)]
    options = {
        "num_warps": 4 if dtypes <= half and tile[0] < 128 else 8,  # of 32 threads
        "num_stages": 3 if dtypes <= half else 2,  # tiles of keys in flight at once
        "enable_fp_fusion": True,
    }
    scale = d**-0.5 if scale is None else scale
    group = len(q) // max(len(k), 1)
    run = launcher(attention_kernel, query.device.type)
    with torch.cuda.device_of(query):
        arguments = q, k, v, out, lse, n, m, group, scale, d, d_v, causal
        run[(programs,)](*arguments, *tile, *widths, **options)
    return out.view(*query.shape[:-1], d_v), lse.view(query.shape[:-1])
