# From docs/1-training/batch-norm.md, which is its source: edit there.  [451e7af8925f]
# %% let-the-network-keep-the-scale-3
"""Batch normalization: forward, backward by hand, running statistics, folding."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def batch_norm(
    input: Float[Tensor, "n d"],
    running_mean: Float[Tensor, "d"] | None,
    running_var: Float[Tensor, "d"] | None,
    weight: Float[Tensor, "d"] | None = None,
    bias: Float[Tensor, "d"] | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "n d"]:
    """Standardize each column, as ``torch.nn.functional.batch_norm`` does.

    Parameters
    ----------
    input : Tensor
        One row for each example, one column for each unit.
    running_mean, running_var : Tensor, optional
        In training they are updated in place, if both are given; in evaluation they are
        the statistics.
    weight, bias : Tensor, optional
        γ and β.
    training : bool
        Normalize by the mean and the *biased* variance of this batch.
    momentum : float
        Weight of this batch in the running averages; that of the variance is *unbiased*.
    eps : float
        Added to the variance, inside the root.

    Raises
    ------
    ValueError
        If there is only one row in training, or nothing to normalize by in evaluation.

    References
    ----------
    S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift", 2015, algorithms 1 and 2.
    """
    if training:
        n = len(input)
        if n < 2:
            raise ValueError(f"training needs two rows or more to compare, got {n}")
        mean, var = input.mean(0), input.var(0, correction=0)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.detach(), momentum)
            running_var.lerp_(var.detach() * n / (n - 1), momentum)
    elif running_mean is None or running_var is None:
        raise ValueError("evaluation needs running_mean and running_var")
    else:
        mean, var = running_mean, running_var
    output = (input - mean) * torch.rsqrt(var + eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


# %% let-the-network-keep-the-scale-4
class BatchNorm1d(nn.Module):
    """`batch_norm` with its parameters and running statistics, for inputs of shape (n, d).

    The ``state_dict`` is that of ``torch.nn.BatchNorm1d``.

    Parameters
    ----------
    num_features : int
        The number d of columns.
    eps : float
        Added to the variance, inside the root.
    momentum : float or None
        Weight of the newest batch in the running statistics; None weights all equally.
    affine : bool
        Learn ``weight`` and ``bias``.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def reset_running_stats(self) -> None:
        """Forget all batches: mean 0, variance 1, none counted."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def forward(self, input: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Normalize by this batch in training, by the running statistics in evaluation."""
        momentum = self.momentum
        if self.training:
            self.num_batches_tracked += 1
            if momentum is None:
                momentum = 1 / self.num_batches_tracked.item()
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            momentum or 0.0,  # evaluation uses none
            self.eps,
        )


# %% back-through-mean-and-variance-1
def batch_norm_backward(
    grad: Float[Tensor, "n d"],
    input: Float[Tensor, "n d"],
    weight: Float[Tensor, "d"],
    eps: float = 1e-5,
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "d"], Float[Tensor, "d"]]:
    """Gradients of `batch_norm` in training, without a graph.

    Parameters
    ----------
    grad : Tensor
        Gradient of the loss with respect to the output.
    input, weight, eps
        As they were in the forward pass.

    Returns
    -------
    grad_input, grad_weight, grad_bias : Tensor
    """
    inv_std = torch.rsqrt(input.var(0, correction=0) + eps)
    normalized = (input - input.mean(0)) * inv_std
    centred = grad - grad.mean(0)
    along = normalized * (grad * normalized).mean(0)
    grad_input = weight * inv_std * (centred - along)
    return grad_input, (grad * normalized).sum(0), grad.sum(0)


# %% what-it-costs-and-how-to-get-rid-of-it-2
@torch.no_grad()
def fold_batch_norm(linear: nn.Linear, norm: BatchNorm1d) -> nn.Linear:
    """One linear layer equal to `norm` in evaluation after `linear`; both stay as they are."""
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    folded = nn.Linear(linear.in_features, linear.out_features).to(linear.weight)
    folded.weight.copy_(linear.weight * scale[:, None])
    folded.bias.copy_(shift if linear.bias is None else shift + linear.bias * scale)
    return folded
