# From docs/1-training/momentum.md, which is its source: edit there.  [8d9f130cd350]
# %% one-curvature-at-a-time-1
"""Momentum: its theory on quadratics, and SGD with PyTorch's conventions."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.optimizer import ParamsT


def heavy_ball_rate(
    curvature: Float[Tensor, "*shape"], lr: float, momentum: float
) -> Float[Tensor, "*shape"]:
    """Factor by which each step of the heavy ball shrinks the error, in the long run.

    It is the larger modulus of the roots of
    ``z**2 - (1 + momentum - lr * curvature) * z + momentum``.

    Parameters
    ----------
    curvature : Tensor of any shape
        Eigenvalues of the Hessian of a quadratic.
    lr, momentum : float
        Learning rate, and momentum in [0, 1).

    Returns
    -------
    Tensor of the same shape
        The method converges along an eigenvector where this is below 1.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    trace = 1 + momentum - lr * curvature
    real_root = (trace.abs() + (trace.square() - 4 * momentum).clamp(min=0).sqrt()) / 2
    return real_root.clamp(min=momentum**0.5)  # complex roots all have this modulus


# %% the-best-pair-1
def heavy_ball_optimum(smallest: float, largest: float) -> tuple[float, float]:
    """Learning rate and momentum with the fastest worst-case rate on a quadratic.

    Parameters
    ----------
    smallest, largest : float
        Extreme eigenvalues of the Hessian.

    Returns
    -------
    lr, momentum : float
        The rate that they reach is ``momentum ** 0.5``.

    Raises
    ------
    ValueError
        If not ``0 < smallest <= largest``.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """
    if not 0 < smallest <= largest:
        raise ValueError(f"need 0 < smallest <= largest, got {smallest} and {largest}")
    low, high = smallest**0.5, largest**0.5
    return (2 / (high + low)) ** 2, ((high - low) / (high + low)) ** 2


# %% the-optimizer-1
def sgd_step(
    param: Float[Tensor, "*shape"],
    grad: Float[Tensor, "*shape"],
    buf: Float[Tensor, "*shape"] | None = None,
    *,
    lr: float | Tensor,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"] | None]:
    """One step of SGD as a pure function: new parameter and new momentum buffer.

    Parameters
    ----------
    param, grad : Tensor of any shape
    buf : Tensor of the same shape, optional
        Momentum buffer of the step before, None at the first step.
    lr, momentum, dampening, weight_decay, nesterov
        As in :class:`SGD`. A tensor of rates must broadcast to ``param``.

    Returns
    -------
    param, buf : Tensor
        New tensors; the arguments are left as they are. ``buf`` is None without momentum.
    """
    if weight_decay:
        grad = grad + weight_decay * param
    if not momentum:
        return param - lr * grad, None
    # The first buffer is the whole gradient, also under dampening: there is nothing yet to
    # average it with. It is a copy, because backward writes into the gradient's memory.
    buf = grad.clone() if buf is None else momentum * buf + (1 - dampening) * grad
    step = grad + momentum * buf if nesterov else buf
    return param - lr * step, buf


# %% the-optimizer-2
class Optimizer(torch.optim.Optimizer):
    """The loop that optimizers share. A subclass says how one parameter is updated."""

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Tensor | float] | None = None
    ) -> Tensor | float | None:
        """Update the parameters that have a gradient; return the loss of ``closure``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self.update_param(param, param.grad, self.state[param], group)
        return loss

    def update_param(
        self, param: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Change ``param`` and ``state``, which is empty at first, in place."""
        raise NotImplementedError


# %% the-optimizer-3
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, equal to ``torch.optim.SGD``.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters, or groups of them with their own settings.
    lr : float
        Learning rate; it multiplies the buffer and does not enter it.
    momentum : float
        Factor by which the buffer decays at each step.
    dampening : float
        Incoming gradients enter the buffer times ``1 - dampening``, from the second on.
    weight_decay : float
        Added to the gradient, times the parameter (an L2 penalty).
    nesterov : bool
        Step along ``grad + momentum * buf`` instead of ``buf``.

    Raises
    ------
    ValueError
        If ``lr``, ``momentum`` or ``weight_decay`` is negative, or if ``nesterov`` comes
        without momentum or with dampening.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization
    and momentum in deep learning", 2013, equations 1 to 4, with the learning rate outside.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if min(lr, momentum, weight_decay) < 0:
            raise ValueError("lr, momentum and weight_decay must not be negative")
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("nesterov needs momentum, and no dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def update_param(
        self, param: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Take one :func:`sgd_step`."""
        new, buf = sgd_step(
            param,
            grad,
            state.get("momentum_buffer"),
            lr=group["lr"],
            momentum=group["momentum"],
            dampening=group["dampening"],
            weight_decay=group["weight_decay"],
            nesterov=group["nesterov"],
        )
        param.copy_(new)  # in place: the model holds this very tensor
        if buf is not None:
            state["momentum_buffer"] = buf
