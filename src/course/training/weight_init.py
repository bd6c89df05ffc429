# From docs/1-training/weight-init.md, which is its source: edit there.  [db4a72ca665d]
# %% in-code-1
"""Initial weights: PyTorch's initializers, the signal that they give, and muP."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def fans(tensor: Float[Tensor, "*shape"]) -> tuple[int, int]:
    """Fan-in and fan-out of a weight: inputs to one output, and outputs of one input.

    Parameters
    ----------
    tensor : Tensor, shape (out, in, *kernel)

    Raises
    ------
    ValueError
        If `tensor` has fewer than two axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"a weight has at least 2 axes, not shape {tuple(tensor.shape)}")
    places = math.prod(tensor.shape[2:])
    return tensor.shape[1] * places, tensor.shape[0] * places


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Gain that PyTorch recommends for a nonlinearity; `unit_gain` computes it for any.

    Parameters
    ----------
    nonlinearity : str
        Name as in ``torch.nn.functional``: "linear", "sigmoid", "tanh", "relu",
        "leaky_relu" or "selu".
    param : float, optional
        Negative slope of "leaky_relu"; 0.01 if not given.

    Raises
    ------
    ValueError
        If the name is another.
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(f"no gain for {nonlinearity!r}, only for {', '.join(gains)}")
    return gains[nonlinearity]


# %% in-code-2
@torch.no_grad()
def xavier_uniform_(
    tensor: Float[Tensor, "out in *kernel"],
    gain: float = 1.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "out in *kernel"]:
    """Fill with uniform draws of variance ``gain² · 2 / (fan_in + fan_out)``, in place.

    References
    ----------
    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.
    """
    bound = math.sqrt(3) * gain * math.sqrt(2 / sum(fans(tensor)))
    return tensor.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def xavier_normal_(
    tensor: Float[Tensor, "out in *kernel"],
    gain: float = 1.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "out in *kernel"]:
    """Fill with normal draws of variance ``gain² · 2 / (fan_in + fan_out)``, in place."""
    return tensor.normal_(0, gain * math.sqrt(2 / sum(fans(tensor))), generator=generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = fans(tensor)
    by_mode = {"fan_in": fan_in, "fan_out": fan_out}
    if mode not in by_mode:
        raise ValueError(f'mode must be "fan_in" or "fan_out", not {mode!r}')
    return calculate_gain(nonlinearity, a) / math.sqrt(by_mode[mode])


@torch.no_grad()
def kaiming_uniform_(
    tensor: Float[Tensor, "out in *kernel"],
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "out in *kernel"]:
    """Fill with uniform draws of variance ``gain² / fan``, in place.

    Parameters
    ----------
    a : float
        Negative slope of the leaky ReLU behind this layer; 0 for a ReLU.
    mode : {"fan_in", "fan_out"}
        Keep the scale of the activations, or that of the gradients.
    nonlinearity : str
        As in `calculate_gain`.

    Raises
    ------
    ValueError
        If `mode` or `nonlinearity` is something else.

    References
    ----------
    K. He et al., "Delving Deep into Rectifiers", 2015, arXiv 1502.01852.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def kaiming_normal_(
    tensor: Float[Tensor, "out in *kernel"],
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "out in *kernel"]:
    """Fill with normal draws of variance ``gain² / fan``, as in `kaiming_uniform_`."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor.normal_(0, std, generator=generator)


@torch.no_grad()
def orthogonal_(
    tensor: Float[Tensor, "*shape"],
    gain: float = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Fill with `gain` times a random matrix of orthonormal rows or columns, in place.

    Axes after the first are taken as one. Whichever of rows and columns are fewer are
    orthonormal.

    Raises
    ------
    ValueError
        If `tensor` has fewer than two axes.

    References
    ----------
    A. Saxe, J. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", 2013, arXiv 1312.6120.
    """
    fans(tensor)
    drawn = torch.empty_like(tensor).flatten(1).normal_(generator=generator)
    wide = drawn.shape[0] < drawn.shape[1]
    q, r = torch.linalg.qr(drawn.T if wide else drawn)
    q = q * r.diagonal().sign()  # makes every orthogonal matrix equally likely
    return tensor.copy_((q.T if wide else q).reshape(tensor.shape)).mul_(gain)


# %% a-gain-for-any-activation-1
def mean_squares(
    activation: Callable[[Tensor], Tensor], std: float = 1.0
) -> tuple[float, float]:
    """Mean squares of an activation and of its slope, for inputs from N(0, `std`²)."""
    # The midpoint rule: exact to rounding for smooth functions, and no point on a corner at 0.
    z = torch.arange(-12, 12, 0.01, dtype=torch.float64) + 0.005
    density = torch.exp(-z.square() / 2)
    density /= density.sum()
    z = (std * z).requires_grad_()
    value = activation(z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    return (density @ value.detach() ** 2).item(), (density @ slope**2).item()


def unit_gain(activation: Callable[[Tensor], Tensor]) -> float:
    """Gain of a layer behind `activation` that keeps the mean square of its inputs at 1.

    If the inputs of the activation have the mean square 1, those of the next one have it,
    too.
    """
    return mean_squares(activation)[0] ** -0.5


# %% a-gain-for-any-activation-3
def predicted_signal(
    activation: Callable[[Tensor], Tensor],
    depth: int,
    gain: float,
    bias_std: float = 0.0,
    rms: float = 1.0,
) -> tuple[Float[Tensor, "depth"], Float[Tensor, "depth"]]:
    """Signal by layer of an untrained network of infinite width.

    Parameters
    ----------
    gain : float
        Standard deviation of the weights times ``fan_in ** 0.5``.
    bias_std : float
        Standard deviation of the biases.
    rms : float
        Root mean square of the inputs.

    Returns
    -------
    forward : Tensor, shape (depth,), float64
        Root mean square of the activations of each layer.
    backward : Tensor, shape (depth,), float64
        Root mean square of the gradient with respect to them, over that of the last layer.

    References
    ----------
    S. Schoenholz et al., "Deep Information Propagation", 2016, arXiv 1611.01232.
    """
    square, squares, factors = rms**2, [], []
    for _ in range(depth):
        std = math.sqrt(gain**2 * square + bias_std**2)
        square, slope = mean_squares(activation, std)
        squares.append(square)
        factors.append(gain**2 * slope)
    # The gradient of layer l has passed the layers from the last down to l + 1.
    passed = torch.tensor([1.0, *factors[:0:-1]], dtype=torch.float64).cumprod(0).flip(0)
    return torch.tensor(squares, dtype=torch.float64).sqrt(), passed.sqrt()


# %% wider-the-best-rate-moves-2
def mup_groups(
    model: nn.Module, base: nn.Module, lr: float
) -> list[dict[str, Any]]:
    """Parametrize a network by muP, for Adam: scale its output weights, return groups.

    At the widths of `base` nothing changes. Call it once, after the usual initialization.

    Parameters
    ----------
    model : Module
        Its output weights (fan-in larger than in `base`, fan-out not) are divided in place
        by the root of the ratio of the fan-ins.
    base : Module
        The same architecture at the width at which `lr` was tuned. Only shapes are read.
    lr : float
        Learning rate of `base`.

    Returns
    -------
    list of dict
        One group of parameters for each rate, to give to Adam.

    Raises
    ------
    ValueError
        If the two models do not have the same number of parameters with the same axes.

    References
    ----------
    G. Yang et al., "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot
    Hyperparameter Transfer", 2022, arXiv 2203.03466, table 3.
    """
    axes, base_axes = ([p.ndim for p in net.parameters()] for net in (model, base))
    if axes != base_axes:
        raise ValueError(f"not one architecture: weights of {axes} and {base_axes} axes")
    by_rate: dict[float, list[nn.Parameter]] = {}
    for p, b in zip(model.parameters(), base.parameters(), strict=True):
        ratio = 1.0
        if p.ndim > 1:
            (fan_in, fan_out), (base_in, base_out) = fans(p), fans(b)
            ratio = fan_in / base_in
            if fan_in > base_in and fan_out == base_out:
                with torch.no_grad():
                    p.div_(math.sqrt(ratio))
        by_rate.setdefault(lr / ratio, []).append(p)
    return [{"params": params, "lr": rate} for rate, params in by_rate.items()]
