# From docs/0-foundations/losses.md, which is its source: edit there.  [6cdf6f0183a1]
# %% a-loss-is-a-bet-about-the-noise-4
"""Losses, each minus a log-likelihood, with PyTorch's conventions; the lasso."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _reduce(
    losses: Float[Tensor, "*shape"], count: Tensor | int, reduction: str
) -> Float[Tensor, "..."]:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.sum() / count
    raise ValueError(f"reduction {reduction!r} is none of 'none', 'mean', 'sum'")


def _require_shape(name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {tuple(shape)}")


def _elementwise(
    losses: Float[Tensor, "*shape"],
    weight: Float[Tensor, "..."] | None,
    reduction: str,
) -> Float[Tensor, "..."]:
    if weight is None:
        return _reduce(losses, losses.numel(), reduction)
    _require_shape("weight", weight, losses.shape)
    return _reduce(weight * losses, weight.sum(), reduction)


# %% a-loss-is-a-bet-about-the-noise-5
def mse_loss(
    input: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    reduction: str = "mean",
    weight: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "..."]:
    """Squared error: the loss of Gaussian noise; its best constant is the mean.

    Parameters
    ----------
    input, target : Tensor of one shape
        Predictions and what they should be.
    reduction : {"mean", "sum", "none"}
        With "none" the result has the shape of the input, else none.
    weight : Tensor of the same shape, optional
        Factor of each error; "mean" divides by the sum of the factors.

    Raises
    ------
    ValueError
        If the shapes differ, where ``torch.nn.functional.mse_loss`` warns and
        broadcasts, or if the reduction is unknown.
    """
    _require_shape("target", target, input.shape)
    return _elementwise((input - target).square(), weight, reduction)


def l1_loss(
    input: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    *,
    reduction: str = "mean",
    weight: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "..."]:
    """Absolute error: the loss of Laplacian noise; its best constant is a median.

    Parameters, result and errors are those of `mse_loss`.
    """
    _require_shape("target", target, input.shape)
    return _elementwise((input - target).abs(), weight, reduction)


# %% yes-or-no-3
def binary_cross_entropy_with_logits(
    input: Float[Tensor, "*shape"],
    target: Float[Tensor, "..."],
    weight: Float[Tensor, "..."] | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "..."]:
    """Minus the log-likelihood, in nats, of yes-or-no targets.

    Parameters
    ----------
    input : Tensor of any shape
        Logits: the model's probability of a 1 is ``sigmoid(input)``.
    target : Tensor of the same shape
        1 or 0, or a probability of 1 between them.
    weight : Tensor that broadcasts to the input's shape, optional
        Factor of each loss. "mean" still divides by the number of losses.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor that broadcasts to the input's shape, optional
        Factor of the positive examples' losses.

    Raises
    ------
    ValueError
        If the shapes differ, or the reduction is unknown.
    """
    _require_shape("target", target, input.shape)
    zero = torch.zeros_like(input)
    yes = torch.logaddexp(zero, -input)  # -ln sigmoid(input)
    no = torch.logaddexp(zero, input)  # -ln(1 - sigmoid(input))
    if pos_weight is not None:
        yes = pos_weight * yes
    losses = target * yes + (1 - target) * no
    if weight is not None:
        losses = weight * losses
    return _reduce(losses, losses.numel(), reduction)


# %% one-of-ten-2
def _log_softmax(
    input: Float[Tensor, "*shape"], dim: int
) -> Float[Tensor, "*shape"]:
    # The shift cancels out of the result, and so out of the gradient.
    shifted = input - input.detach().amax(dim, keepdim=True)
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


# %% one-of-ten-3
def cross_entropy(
    input: Float[Tensor, "*shape"],
    target: Int[Tensor, "..."] | Float[Tensor, "..."],
    weight: Float[Tensor, "..."] | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Float[Tensor, "..."]:
    """Minus the log-likelihood, in nats, of targets that are one of several classes.

    Parameters
    ----------
    input : Tensor, shape (batch, classes, ...) or (classes,)
        Logits.
    target : Tensor
        Labels, integers of the input's shape without its axis of classes; or
        probabilities of the classes, of the input's shape.
    weight : Tensor, shape (classes,), optional
        Factor of each class.
    ignore_index : int
        A label that costs nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of the weights of the labels that count. Where
        targets are probabilities it divides by their number, weighted or not.
    label_smoothing : float
        Share of each target that goes to all classes alike.

    Raises
    ------
    ValueError
        If a shape does not fit, the reduction is unknown, `label_smoothing` is not
        in [0, 1], or a label is to be ignored where targets are probabilities.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing {label_smoothing} is not in [0, 1]")
    dim = min(1, input.ndim - 1)
    classes = input.shape[dim]
    log_p = _log_softmax(input, dim)
    if weight is None:
        weight = input.new_ones(classes)
    _require_shape("weight", weight, torch.Size([classes]))
    weighted = weight.view(-1, *[1] * (input.ndim - dim - 1)) * log_p
    uniform = -weighted.mean(dim)  # the loss of the target 1 / classes

    if target.is_floating_point():
        _require_shape("target", target, input.shape)
        if ignore_index >= 0:
            raise ValueError("ignore_index needs labels, and targets are probabilities")
        losses = -(target * weighted).sum(dim)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
        return _reduce(losses, losses.numel(), reduction)

    _require_shape("target", target, uniform.shape)
    counts = target != ignore_index
    label = target.where(counts, 0)  # any class that exists
    losses = -weighted.gather(dim, label.unsqueeze(dim)).squeeze(dim)
    if label_smoothing:  # if not, a forbidden class at -inf may stay: 0 * inf is NaN
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    losses = losses.where(counts, 0)
    return _reduce(losses, (weight[label] * counts).sum(), reduction)


# %% a-bet-about-the-weights-1
def soft_threshold(
    x: Float[Tensor, "*shape"], threshold: float
) -> Float[Tensor, "*shape"]:
    """Minimise ``(w - x)**2 / 2 + threshold * abs(w)`` over each ``w``.

    Everything moves towards zero by `threshold`, and what would pass zero stays there.

    Raises
    ------
    ValueError
        If `threshold` is negative.
    """
    if threshold < 0:
        raise ValueError(f"threshold {threshold} is negative")
    return x.sign() * (x.abs() - threshold).clamp(min=0)


# %% a-bet-about-the-weights-3
def lasso(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n"],
    alpha: float,
    start: Float[Tensor, "d"] | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 100_000,
) -> Float[Tensor, "d"]:
    """Minimise ``((y - x @ w)**2).mean() / 2 + alpha * w.abs().sum()`` over ``w``.

    There is no intercept: centre `x` and `y` first.

    Parameters
    ----------
    x, y : Tensor
        Features and targets.
    alpha : float
        Price of a weight's absolute value, as in scikit-learn's ``Lasso``.
    start : Tensor, shape (d,), optional
        Where to begin, zero if not given; the minimum does not depend on it.
    tolerance : float
        Stop when no weight wants to move by more than this times the step size.

    Raises
    ------
    ValueError
        If `alpha` is negative.
    RuntimeError
        If `max_steps` were not enough.

    References
    ----------
    R. Tibshirani, *Regression shrinkage and selection via the lasso*, 1996;
    I. Daubechies, M. Defrise, C. De Mol, *An iterative thresholding algorithm for
    linear inverse problems with a sparsity constraint*, 2004.
    """
    curvature, pull = x.T @ x / len(x), x.T @ y / len(x)
    lr = 1 / torch.linalg.eigvalsh(curvature)[-1].item()  # stable below twice this
    w = torch.zeros_like(pull) if start is None else start
    for _ in range(max_steps):
        before = w
        w = soft_threshold(w - lr * (curvature @ w - pull), lr * alpha)
        if (w - before).abs().max() <= tolerance * lr:
            return w
    raise RuntimeError(f"still moving after {max_steps} steps: raise the tolerance")
