# From docs/0-foundations/tensors.md, which is its source: edit there.  [7abee2f5ae03]
# %% a-storage-and-a-rule-for-reading-it-1
"""What explains a strided view: where elements lie, and which shapes broadcast."""

from collections.abc import Sequence

from jaxtyping import Shaped
from torch import Tensor


def storage_index(x: Shaped[Tensor, "*shape"], index: Sequence[int]) -> int:
    """Find the place of an element in the storage of its tensor.

    Parameters
    ----------
    x : Tensor of any shape
    index : sequence of int
        One for each axis; negative ones count from the end.

    Returns
    -------
    int
        Counted in elements: times ``x.element_size()`` it is in bytes.

    Raises
    ------
    IndexError
        If there are more or fewer indices than axes, or one is out of range.
    """
    if len(index) != x.dim():
        raise IndexError(f"{len(index)} indices for {x.dim()} axes")
    place = int(x.storage_offset())
    for i, size, stride in zip(index, x.shape, x.stride(), strict=True):
        if not -size <= i < size:
            raise IndexError(f"index {i} is out of range for an axis of size {size}")
        place += i % size * stride
    return place


# %% a-storage-and-a-rule-for-reading-it-2
def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a tensor whose elements fill its storage row by row.

    As in PyTorch, an axis of size 0 counts as if it had size 1.

    Raises
    ------
    ValueError
        If a size is negative.
    """
    if any(size < 0 for size in shape):
        raise ValueError(f"negative size in {tuple(shape)}")
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


# %% broadcasting-is-a-stride-of-0-1
from itertools import zip_longest


def broadcast_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Shape of the result of an elementwise operation on tensors of these shapes.

    Raises
    ------
    ValueError
        If along some axis, counted from the last, two sizes differ and neither is 1,
        or if a size is negative.
    """
    result = []
    for sizes in zip_longest(*map(reversed, shapes), fillvalue=1):
        different = {size for size in sizes if size != 1}
        if len(different) > 1 or min(sizes) < 0:
            raise ValueError(f"shapes {[*map(tuple, shapes)]} do not broadcast")
        result.append(different.pop() if different else 1)
    return tuple(reversed(result))


def broadcast_strides(
    shape: Sequence[int], strides: Sequence[int], target: Sequence[int]
) -> tuple[int, ...]:
    """Strides with which a tensor reads as if it had the shape `target`.

    Parameters
    ----------
    shape, strides : sequence of int
        Of the tensor as it is.
    target : sequence of int
        The shape that it is to take, as `broadcast_shape` gives it.

    Returns
    -------
    tuple of int
        Its own strides, and 0 wherever it is repeated.

    Raises
    ------
    ValueError
        If the shape does not broadcast to `target`, or the number of strides differs
        from that of the axes.
    """
    if broadcast_shape(shape, target) != tuple(target):
        raise ValueError(f"{tuple(shape)} does not broadcast to {tuple(target)}")
    kept = [0 if n == 1 else step for n, step in zip(shape, strides, strict=True)]
    return (0,) * (len(target) - len(shape)) + tuple(kept)
