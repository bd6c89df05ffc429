# From docs/0-foundations/convolution.md, which is its source: edit there.  [7083b906b8a4]
# %% a-table-of-pixels-2
"""Convolution and pooling of images, their gradients, and their matrix."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor, nn

Size = int | tuple[int, int]  # of both axes, or of height and width


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def patches(
    input: Num[Tensor, "*batch height width"],
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    fill: float = 0,
) -> Num[Tensor, "*batch kernel_h kernel_w out_h out_w"]:
    """Return the pixels under every window, as a view of the padded images.

    Parameters
    ----------
    input : Tensor, shape (..., height, width)
    kernel_size, stride, padding, dilation : int or pair of int
        Pixels of a window along an axis; steps between windows; pixels of value `fill`
        added on each side; steps between the pixels of a window.

    Returns
    -------
    Tensor, shape (..., kernel_h, kernel_w, out_h, out_w)
        Entry ``[..., a, b, i, j]`` is what place ``(a, b)`` of window ``(i, j)`` meets.
        Windows overlap in memory: clone before you write.

    Raises
    ------
    ValueError
        If not one window fits.
    """
    (k_h, k_w), (s_h, s_w) = _pair(kernel_size), _pair(stride)
    (p_h, p_w), (d_h, d_w) = _pair(padding), _pair(dilation)
    padded = F.pad(input, (p_w, p_w, p_h, p_h), value=fill)
    span_h, span_w = d_h * (k_h - 1) + 1, d_w * (k_w - 1) + 1
    height, width = padded.shape[-2:]
    if span_h > height or span_w > width:
        raise ValueError(
            f"a window of {span_h} × {span_w} does not fit into {height} × {width}"
        )
    # The first unfold puts its window behind the width, which is then next to last.
    windows = padded.unfold(-2, span_h, s_h).unfold(-2, span_w, s_w)
    return windows[..., ::d_h, ::d_w].movedim((-2, -1), (-4, -3))


# %% a-table-of-pixels-4
def conv2d(
    input: Float[Tensor, "*batch c_in height width"],
    weight: Float[Tensor, "c_out c_in_per_group kernel_h kernel_w"],
    bias: Float[Tensor, "c_out"] | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Float[Tensor, "*batch c_out out_h out_w"]:
    """Slide kernels over images: a cross-correlation, as in `torch.nn.functional.conv2d`.

    Parameters
    ----------
    input : Tensor, shape (..., c_in, height, width)
    weight : Tensor, shape (c_out, c_in / groups, kernel_h, kernel_w)
    bias : Tensor, shape (c_out,), optional
    stride, padding, dilation : int or pair of int
        See `patches`. Padding is with zeros.
    groups : int
        Sets that the channels of input and output are cut into; the outputs of one set
        read the inputs of that set only.

    Returns
    -------
    Tensor, shape (..., c_out, out_h, out_w)
        ``out = (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        If the channels do not fit `weight` and `groups`, or no window fits.
    """
    if input.shape[-3] != groups * weight.shape[1] or len(weight) % groups:
        raise ValueError(
            f"{groups} groups of {weight.shape[1]} channels in, {len(weight)} kernels: "
            f"does not fit an input of {input.shape[-3]} channels"
        )
    windows = patches(input, _kernel_size(weight), stride, padding, dilation)
    output = _rows(weight, groups) @ _columns(windows, groups)
    output = output.flatten(-3, -2).unflatten(-1, windows.shape[-2:])
    return output if bias is None else output + bias[:, None, None]


def _kernel_size(weight: Tensor) -> tuple[int, int]:
    return weight.shape[-2], weight.shape[-1]


def _rows(weight: Tensor, groups: int) -> Tensor:
    """Kernels as rows: (groups, kernels of a group, weights of a kernel)."""
    return weight.unflatten(0, (groups, -1)).flatten(2)


def _columns(windows: Tensor, groups: int) -> Tensor:
    """Windows as columns: (..., groups, weights of a kernel, places)."""
    return windows.unflatten(-5, (groups, -1)).flatten(-5, -3).flatten(-2)


# %% three-gradients-from-one-line-1
def _met_pixels(
    shape: torch.Size,
    weight: Tensor,
    stride: Size,
    padding: Size,
    dilation: Size,
    groups: int,
) -> Tensor:
    """Number of the pixel, from 1, that each weight meets at each place; 0 is padding."""
    numbers = torch.arange(1, math.prod(shape) + 1, device=weight.device).view(shape)
    windows = patches(numbers, _kernel_size(weight), stride, padding, dilation)
    return _columns(windows, groups)  # (groups, weights of a kernel, places)


def conv2d_backward(
    grad_output: Float[Tensor, "*batch c_out out_h out_w"],
    input: Float[Tensor, "*batch c_in height width"],
    weight: Float[Tensor, "c_out c_in_per_group kernel_h kernel_w"],
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> tuple[
    Float[Tensor, "*batch c_in height width"],
    Float[Tensor, "c_out c_in_per_group kernel_h kernel_w"],
    Float[Tensor, "c_out"],
]:
    """Return the gradients of the input, weight and bias of `conv2d`.

    Parameters
    ----------
    grad_output : Tensor, shape (..., c_out, out_h, out_w)
        Gradient of the loss with respect to what `conv2d` returned.
    input, weight, stride, padding, dilation, groups
        What `conv2d` was given.
    """
    windows = patches(input, _kernel_size(weight), stride, padding, dilation)
    grad = grad_output.flatten(-2).unflatten(-2, (groups, -1))
    rows = _rows(weight, groups)
    grad_weight = (grad @ _columns(windows, groups).mT).sum_to_size(rows.shape)

    met = _met_pixels(input.shape[-3:], weight, stride, padding, dilation, groups)
    grad_columns = (rows.mT @ grad).flatten(-3)
    padded = grad.new_zeros(*input.shape[:-3], math.prod(input.shape[-3:]) + 1)
    padded = padded.scatter_add(-1, met.flatten().expand_as(grad_columns), grad_columns)
    grad_input = padded[..., 1:].unflatten(-1, input.shape[-3:])  # without the padding

    grad_bias = grad_output.sum((-2, -1)).sum_to_size(len(weight))
    return grad_input, grad_weight.view_as(weight), grad_bias


# %% the-same-thing-as-one-matrix-1
def toeplitz(
    weight: Float[Tensor, "c_out c_in_per_group kernel_h kernel_w"],
    height: int,
    width: int,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Float[Tensor, "outputs inputs"]:
    """Return the matrix of `conv2d` for images of `height` × `width` pixels.

    Returns
    -------
    Tensor, shape (c_out * out_h * out_w, c_in * height * width)
        Times ``x.flatten()`` it is ``conv2d(x, weight, ...).flatten()``. With stride 1 it
        is made of Toeplitz blocks: constant along their diagonals.
    """
    shape = torch.Size((groups * weight.shape[1], height, width))
    met = _met_pixels(shape, weight, stride, padding, dilation, groups)
    rows = _rows(weight, groups)
    sizes = (*rows.shape[:2], met.shape[-1])  # groups, kernels of a group, places
    matrix = weight.new_zeros(*sizes, shape.numel() + 1)
    index = met.mT[:, None].expand(*sizes, -1)
    matrix = matrix.scatter(-1, index, rows[:, :, None].expand_as(index))
    return matrix.flatten(0, 2)[:, 1:]  # without the padding


# %% pooling-from-equivariant-to-invariant-1
def max_pool2d(
    input: Float[Tensor, "*batch height width"],
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
) -> Float[Tensor, "*batch out_h out_w"]:
    """Replace each window by its largest pixel, as `torch.nn.functional.max_pool2d` does.

    Parameters
    ----------
    input : Tensor, shape (..., height, width)
    kernel_size, padding, dilation : int or pair of int
        See `patches`. Padding never wins.
    stride : int or pair of int, optional
        By default the kernel size: windows side by side.

    Raises
    ------
    ValueError
        If padding is more than half the kernel size: a window could hold nothing else.
    """
    for kernel, added in zip(_pair(kernel_size), _pair(padding), strict=True):
        if 2 * added > kernel:
            raise ValueError(f"padding {added} is more than half of kernel size {kernel}")
    stride = kernel_size if stride is None else stride
    windows = patches(input, kernel_size, stride, padding, dilation, fill=-math.inf)
    # Of equal pixels max takes the first, as PyTorch; amax would share the gradient.
    return windows.flatten(-4, -3).max(-3).values


# %% the-digits-again-1
def conv_net(channels: tuple[int, int] = (16, 32)) -> nn.Sequential:
    """Build a convolutional network for the digits: rows of 64 pixels in, 10 logits out.

    Twice a 3 × 3 convolution with padding 1, a ReLU and a maximum over 2 × 2 pixels;
    then a linear layer. 6,090 parameters by default, initialized as PyTorch does.
    """
    first, second = channels
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * second, 10),
    )
