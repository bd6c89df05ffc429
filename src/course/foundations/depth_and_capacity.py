# From docs/0-foundations/depth-and-capacity.md, which is its source: edit there.  [0f43b4562de0]
# %% any-curve-written-down-1
"""What ReLU networks can express: constructions with weights written down, pieces counted."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def interpolant(
    knots: Float[Tensor, "points"], values: Float[Tensor, "points"]
) -> nn.Sequential:
    """Write down a network with one hidden layer that joins points by straight lines.

    Parameters
    ----------
    knots, values : Tensor, shape (points,)
        Points of the curve; `knots` increase strictly. Their dtype becomes the network's.

    Returns
    -------
    Sequential
        Linear, ReLU, Linear, with one unit for each of the ``points - 1`` pieces. Left of
        the knots it is constant; to the right the last piece goes on.

    Raises
    ------
    ValueError
        If there are fewer than two knots, or they do not increase.
    """
    if len(knots) < 2 or (knots.diff() <= 0).any():
        raise ValueError("need two knots or more, each greater than the one before")
    units, dtype = len(knots) - 1, knots.dtype
    slopes = values.diff() / knots.diff()
    hidden = nn.Linear(1, units, dtype=dtype)
    output = nn.Linear(units, 1, dtype=dtype)
    hidden.weight.fill_(1)
    hidden.bias.copy_(-knots[:-1])
    output.weight[0] = slopes.diff(prepend=slopes.new_zeros(1))
    output.bias.fill_(values[0])
    return nn.Sequential(hidden, nn.ReLU(), output)


# %% count-the-pieces-1
def kinks(net: nn.Sequential, low: float, high: float) -> Float[Tensor, "kinks"]:
    """Find where the slope of a ReLU network of one input changes.

    Exact up to rounding: nothing is sampled. Kinks closer than ``1e-12 * (high - low)``
    count as one.

    Parameters
    ----------
    net : Sequential
        Of Linear and ReLU layers, in float64, from one input to one output.
    low, high : float
        The interval to search.

    Returns
    -------
    Tensor, shape (kinks,)
        In increasing order. The network has one straight piece more than kinks.

    Raises
    ------
    ValueError
        If the network has other layers, or is not in float64.
    """
    if not all(isinstance(layer, nn.Linear | nn.ReLU) for layer in net):
        raise ValueError("need a Sequential of Linear and ReLU layers only")
    if any(p.dtype != torch.float64 for p in net.parameters()):
        raise ValueError("need a network in float64: call .double() on it")
    x = torch.tensor([low, high], dtype=torch.float64)
    with torch.no_grad():
        for place, layer in enumerate(net):
            if isinstance(layer, nn.ReLU):
                z = net[:place](x[:, None])  # (points, units), straight between points
                left, right = z[:-1], z[1:]
                zeros = x[:-1, None] + x.diff()[:, None] * left / (left - right)
                x = torch.cat([x, zeros[left * right < 0]]).sort().values
                x = x[x.diff(prepend=x.new_tensor([-torch.inf])) > 1e-12 * (high - low)]
    # A bend of one unit may be switched off, or undone, further up: compare the slopes.
    middle = ((x[:-1] + x[1:]) / 2)[:, None].requires_grad_()
    (slopes,) = torch.autograd.grad(net(middle).sum(), middle)
    bends = slopes[:, 0].diff().abs() > 1e-9 * slopes.abs().max()
    return x[1:-1][bends]


# %% fold-and-fold-again-1
@torch.no_grad()
def folded_net(folds: int, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Write down the tent map, composed `folds` times, as a network of width 2.

    On the interval from 0 to 1 it has ``2 ** folds`` straight pieces between 0 and 1, from
    ``6 * folds + 1`` parameters.

    Parameters
    ----------
    folds : int
        Number of hidden layers, at least 1.

    Raises
    ------
    ValueError
        If `folds` is less than 1.

    References
    ----------
    M. Telgarsky, "Representation Benefits of Deep Feedforward Networks", 2015.
    """
    if folds < 1:
        raise ValueError(f"need at least one fold, got {folds}")
    tent = torch.tensor([[2.0, -4.0]])  # of relu(x) and relu(x - 1/2)
    layers: list[nn.Module] = []
    for fold in range(folds):
        hidden = nn.Linear(2 if fold else 1, 2, dtype=dtype)
        hidden.weight.copy_(tent.expand(2, 2) if fold else torch.ones(2, 1))
        hidden.bias.copy_(torch.tensor([0.0, -0.5]))
        layers += [hidden, nn.ReLU()]
    output = nn.Linear(2, 1, dtype=dtype)
    output.weight.copy_(tent)
    output.bias.zero_()
    return nn.Sequential(*layers, output)


# %% capacity-as-memory-1
def memorizer(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n"], direction: Float[Tensor, "d"]
) -> nn.Sequential:
    """Write down a network that answers `y` on the rows of `x`, whatever `y` is.

    Parameters
    ----------
    x : Tensor, shape (n, d)
    y : Tensor, shape (n,)
        One number to remember for each row.
    direction : Tensor, shape (d,)
        What rows are projected on. A random one tells different rows apart.

    Returns
    -------
    Sequential
        A projection to one number without bias, then an :func:`interpolant`.

    Raises
    ------
    ValueError
        If two rows have the same projection, up to rounding.

    References
    ----------
    C. Zhang et al., "Understanding Deep Learning Requires Rethinking Generalization",
    2016, theorem 1.
    """
    place, order = (x @ direction).sort()
    rounding = 64 * torch.finfo(place.dtype).eps * place.abs().max()
    if (place.diff() <= rounding).any():
        raise ValueError("two rows have the same projection: take another direction")
    project = nn.Linear(len(direction), 1, bias=False, dtype=x.dtype)
    project.weight.data = direction[None].clone()
    return nn.Sequential(project, *interpolant(place, y[order]))
