# From docs/0-foundations/activations.md, which is its source: edit there.  [a54b91f23a8a]
# %% ten-layers-one-matrix-1
"""Activation functions, and what they let through in a deep network."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer


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


# %% ten-layers-one-matrix-4
def fit_together(
    nets: list[nn.Sequential],
    x: Float[Tensor, "n d"],
    y: Int[Tensor, "n"],
    optimizer: Callable[[list[Tensor]], Optimizer],
    steps: int,
    batch_size: int = 32,
    seed: int = 0,
) -> Float[Tensor, "steps nets"]:
    """Train networks of one shape side by side, in place, on random batches.

    Parameters
    ----------
    nets : list of Sequential
        Linear layers with a bias, and modules without parameters, which are taken from
        the first network and must act on every number by itself.
    x, y : Tensor
        Inputs and classes. Each network draws batches of its own.
    optimizer : callable
        Given the list of stacked parameters, returns the optimizer. It must treat every
        number by itself, as SGD and Adam do; else the networks are not independent.
    steps, batch_size : int
    seed : int
        Of the batches.

    Returns
    -------
    Tensor, shape (steps, nets)
        Cross-entropy on each network's batch, before each step.

    Raises
    ------
    ValueError
        If the parameters of the networks differ in shape.
    """
    if len({tuple(p.shape for p in net.parameters()) for net in nets}) != 1:
        raise ValueError("the networks must have parameters of the same shapes")
    own = zip(*(net.parameters() for net in nets), strict=True)
    params = [torch.stack(same).detach().requires_grad_() for same in own]
    rule = optimizer(params)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(x), (len(nets), batch_size), generator=generator)
        h, left = x[rows], iter(params)  # h has shape (nets, batch_size, width)
        for layer in nets[0]:
            if isinstance(layer, nn.Linear):
                weight, bias = next(left), next(left)
                h = torch.baddbmm(bias[:, None], h, weight.mT)
            else:
                h = layer(h)
        # Classes belong on axis 1; the mean is over each network's own batch.
        loss = cross_entropy(h.mT, y[rows], reduction="none").mean(1)
        rule.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        rule.step()
        losses.append(loss.detach())
    with torch.no_grad():
        for net, *trained in zip(nets, *params, strict=True):
            for p, new in zip(net.parameters(), trained, strict=True):
                p.copy_(new)
    return torch.stack(losses)


# %% six-ways-to-bend-2
def sigmoid(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """1 / (1 + exp(-x)), from 0 to 1, without overflow. Slope at most 1/4, at 0."""
    return torch.exp(-torch.logaddexp(torch.zeros_like(x), -x))


def tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The sigmoid, stretched to reach from -1 to 1. Slope at most 1, at 0.

    Exact to rounding of 1; ``torch.tanh`` keeps relative precision for tiny `x` as well.
    """
    return 2 * sigmoid(2 * x) - 1


# %% six-ways-to-bend-3
def relu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """max(0, x). The slope at 0 is taken to be 0, as in PyTorch."""
    return torch.where(x > 0, x, 0)


def leaky_relu(
    x: Float[Tensor, "*shape"], negative_slope: float = 0.01
) -> Float[Tensor, "*shape"]:
    """`x` where it is positive, `negative_slope` times `x` elsewhere.

    References
    ----------
    A. Maas, A. Hannun and A. Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic
    Models", 2013.
    """
    return torch.where(x > 0, x, negative_slope * x)


# %% six-ways-to-bend-5
def gelu(
    x: Float[Tensor, "*shape"], approximate: str = "none"
) -> Float[Tensor, "*shape"]:
    """`x` times the probability that a standard normal draw is below `x`.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        Exact, or the form of GPT-2, which differs by up to 5e-4.

    Raises
    ------
    ValueError
        If `approximate` is something else.

    References
    ----------
    D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units (GELUs)", 2016.
    """
    if approximate == "none":
        # erfc, not 1 + erf: the sum would round to 0 below -5 in float32.
        return x * torch.erfc(-x / math.sqrt(2)) / 2
    if approximate == "tanh":
        return x * sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))
    raise ValueError(f'approximate must be "none" or "tanh", not {approximate!r}')


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`x` times its sigmoid; also called Swish.

    References
    ----------
    S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-Weighted Linear Units for Neural Network
    Function Approximation in Reinforcement Learning", 2017.
    """
    return x * sigmoid(x)


# %% where-the-slope-lives-1
def slopes_by_layer(
    model: nn.Sequential, x: Float[Tensor, "batch d"]
) -> list[Float[Tensor, "batch _"]]:
    """Slope of each activation at the numbers that reach it, layer by layer.

    Parameters
    ----------
    model : Sequential
        Each child that is not an ``nn.Linear`` must act on every number by itself.
    x : Tensor
        Inputs.
    """
    slopes: list[Tensor] = []
    for layer in model:
        z = x.detach().requires_grad_()
        x = layer(z)
        if not isinstance(layer, nn.Linear):
            slopes.extend(torch.autograd.grad(x.sum(), z))
    return slopes


def saturated_fraction(
    slopes: Float[Tensor, "batch units"], threshold: float = 0.01
) -> float:
    """Fraction of all slopes, over examples and units, that are below `threshold` in size."""
    return (slopes.abs() < threshold).float().mean().item()


def dead_fraction(slopes: Float[Tensor, "batch units"]) -> float:
    """Fraction of the units whose slope is exactly 0 for every example.

    No example moves such a unit. Give all of the training set: a small batch makes units
    look dead that only rest.
    """
    return (slopes == 0).all(0).float().mean().item()


# %% the-signal-layer-by-layer-1
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
