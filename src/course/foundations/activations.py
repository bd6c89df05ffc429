# From docs/0-foundations/activations.md, which is its source: edit there.  [8c8d50fab98f]
# %% ten-layers-one-matrix-1
"""Activation functions, and what they let through in a deep network."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def deep_mlp(
    depth: int, activation: Callable[[], nn.Module], width: int = 64
) -> nn.Sequential:
    """Build a plain network for the digits: 64 → `width` × `depth` → 10.

    Parameters
    ----------
    depth : int
        Number of *hidden* layers. The network has ``depth + 1`` linear ones.
    activation : callable
        Called without arguments once for each hidden layer: ``nn.ReLU``, or
        ``lambda: nn.GELU(approximate="tanh")``.
    width : int
        Units in each hidden layer.

    Returns
    -------
    Sequential
        Linear layers at even places, activations at odd ones. Weights and biases are
        PyTorch's default: uniform within ``± fan_in ** -0.5``, from the global generator.
    """
    layers: list[nn.Module] = []
    fan_in = 64
    for _ in range(depth):
        layers += [nn.Linear(fan_in, width), activation()]
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(fan_in, 10))


# %% ten-layers-one-matrix-2
def signal_by_layer(
    model: nn.Sequential, x: Float[Tensor, "batch d"], y: Int[Tensor, "batch"]
) -> tuple[Float[Tensor, "layers"], Float[Tensor, "layers"]]:
    """Measure the activations of each hidden layer, and the gradients that reach them.

    A hidden layer ends with each child of `model` that is not an ``nn.Linear``: with an
    activation in `deep_mlp`, with a block in a stack of blocks. `model` is used in the mode
    that it is in; the ``.grad`` of its parameters is left alone.

    Parameters
    ----------
    model : Sequential
        Ends in logits, as the networks of `deep_mlp` do.
    x, y : Tensor
        Inputs and labels.

    Returns
    -------
    forward : Tensor, shape (layers,), float64
        Root mean square of the activations, over examples and units.
    backward : Tensor, shape (layers,), float64
        Root mean square of the gradient of each example's own cross-entropy with respect to
        its activations. (The gradient of the batch's *mean* loss is smaller by its size.)
    """
    activations = []
    for layer in model:
        x = layer(x)
        if not isinstance(layer, nn.Linear):
            activations.append(x)
    loss = cross_entropy(x, y, reduction="sum")
    gradients = torch.autograd.grad(loss, activations)

    def rms(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        # In float64: the square of a gradient of 1e-23 is 0 in float32.
        squares = [t.detach().double().square().mean() for t in tensors]
        return torch.stack(squares).sqrt()

    return rms(activations), rms(gradients)
