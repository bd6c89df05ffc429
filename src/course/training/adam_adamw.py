# From docs/1-training/adam-adamw.md, which is its source: edit there.  [1b4d08441c85]
# %% divide-by-what-you-have-seen-1
"""AdaGrad, RMSprop, Adam and AdamW, with PyTorch's conventions."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from course.training.momentum import Optimizer


class _PerCoordinate(Optimizer):
    """What the optimizers of this module share: refusals, a count of steps, `maximize`."""

    def __init__(self, params: ParamsT, **defaults: Any) -> None:
        for name in ("lr", "eps", "weight_decay"):
            if defaults[name] < 0:
                raise ValueError(f"{name} must not be negative, got {defaults[name]}")
        super().__init__(params, defaults)

    def update_param(
        self, param: Tensor, grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Count the step, and take it."""
        if grad.is_sparse or param.is_complex():
            raise ValueError("only dense, real gradients are supported")
        if not state:
            state.update(step=torch.tensor(0.0), **self._start(param, group))
        state["step"] += 1
        self._update(param, -grad if group["maximize"] else grad, state, group)

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        raise NotImplementedError

    def _update(
        self,
        param: Float[Tensor, "*shape"],
        grad: Float[Tensor, "*shape"],
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        """Change `param` and `state` in place."""
        raise NotImplementedError


class Adagrad(_PerCoordinate):
    """Divide by the root of the sum of all squared gradients, as ``torch.optim.Adagrad``.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters, or groups of them with their own settings.
    lr : float
        Learning rate; at step `t` it is ``lr / (1 + (t - 1) * lr_decay)``.
    lr_decay : float
    weight_decay : float
        Added to the gradient, times the parameter (an L2 penalty).
    initial_accumulator_value : float
        Where the sum starts.
    eps : float
        Added to the root.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    ValueError
        If a setting is negative. By ``step``: if a gradient is sparse or complex.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning
    and stochastic optimization", 2011.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        if min(lr_decay, initial_accumulator_value) < 0:
            raise ValueError("lr_decay and initial_accumulator_value must not be negative")
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"sum": torch.full_like(param, group["initial_accumulator_value"])}

    def _update(
        self,
        param: Float[Tensor, "*shape"],
        grad: Float[Tensor, "*shape"],
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        grad = grad + group["weight_decay"] * param
        lr = group["lr"] / (1 + (state["step"].item() - 1) * group["lr_decay"])
        state["sum"].add_(grad.square())
        param.sub_(lr * grad / (state["sum"].sqrt() + group["eps"]))


# %% forget-then-correct-1
class RMSprop(_PerCoordinate):
    """Divide by a running root mean square of gradients, as ``torch.optim.RMSprop``.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters, or groups of them with their own settings.
    lr : float
    alpha : float
        Factor by which the average of squares decays at each step.
    eps : float
        Added to the root.
    weight_decay : float
        Added to the gradient, times the parameter (an L2 penalty).
    momentum : float
        Factor by which a buffer of the divided gradients decays.
    centered : bool
        Subtract the square of the average gradient: divide by a standard deviation.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    ValueError
        If a setting is negative. By ``step``: if a gradient is sparse or complex.

    References
    ----------
    T. Tieleman and G. Hinton, Coursera lecture 6.5, 2012; centered: A. Graves,
    "Generating sequences with recurrent neural networks", 2013.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if min(alpha, momentum) < 0:
            raise ValueError("alpha and momentum must not be negative")
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            maximize=maximize,
        )

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        names = ["square_avg"]
        names += ["momentum_buffer"] if group["momentum"] else []
        names += ["grad_avg"] if group["centered"] else []
        return {name: torch.zeros_like(param) for name in names}

    def _update(
        self,
        param: Float[Tensor, "*shape"],
        grad: Float[Tensor, "*shape"],
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        grad = grad + group["weight_decay"] * param
        alpha, variance = group["alpha"], state["square_avg"]
        variance.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
        if group["centered"]:
            state["grad_avg"].lerp_(grad, 1 - alpha)
            variance = variance - state["grad_avg"].square()
        step = grad / (variance.sqrt() + group["eps"])
        if group["momentum"]:
            step = state["momentum_buffer"].mul_(group["momentum"]).add_(step)
        param.sub_(group["lr"] * step)


# %% forget-then-correct-3
class Adam(_PerCoordinate):
    """Adaptive moment estimation, equal to ``torch.optim.Adam``.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters, or groups of them with their own settings.
    lr : float
        Learning rate: about the length of a step, in each coordinate.
    betas : (float, float)
        Factors by which the averages of gradients and of their squares decay.
    eps : float
        Added to the root, after the bias correction.
    weight_decay : float
        Added to the gradient, times the parameter (an L2 penalty), unless decoupled.
    amsgrad : bool
        Divide by the largest average of squares so far.
    maximize : bool
        Climb instead of descend.
    decoupled_weight_decay : bool
        Shrink the parameter by ``1 - lr * weight_decay`` instead: see :class:`AdamW`.

    Raises
    ------
    ValueError
        If a setting is negative, or a beta is not in [0, 1). By ``step``: if a gradient
        is sparse or complex.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2014.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def _start(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        names = ["exp_avg", "exp_avg_sq"]
        names += ["max_exp_avg_sq"] if group["amsgrad"] else []
        return {name: torch.zeros_like(param) for name in names}

    def _update(
        self,
        param: Float[Tensor, "*shape"],
        grad: Float[Tensor, "*shape"],
        state: dict[str, Tensor],
        group: dict[str, Any],
    ) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        if group["decoupled_weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        else:
            grad = grad + group["weight_decay"] * param
        m, v, t = state["exp_avg"], state["exp_avg_sq"], state["step"].item()
        m.lerp_(grad, 1 - beta1)
        v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        if group["amsgrad"]:
            v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        param.sub_(lr * m_hat / (v_hat.sqrt() + group["eps"]))


# %% equal-to-pytorchs-1
class AdamW(Adam):
    """Adam with decoupled weight decay, equal to ``torch.optim.AdamW``.

    The parameter shrinks by ``1 - lr * weight_decay`` before the step, and the moments
    never see the decay. Settings are those of :class:`Adam`.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", 2017.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # also where the state loaded is that of an Adam
            group["decoupled_weight_decay"] = True


# %% decay-is-not-a-penalty-any-more-5
def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: matrices, which decay, and vectors, which do not.

    Parameters
    ----------
    model : Module
        Its parameters that require a gradient are grouped, shared ones once.
    weight_decay : float
        For parameters of two or more axes: weights, embeddings, kernels.
    """
    params = [param for param in model.parameters() if param.requires_grad]
    return [
        {"params": [p for p in params if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim < 2], "weight_decay": 0.0},
    ]
