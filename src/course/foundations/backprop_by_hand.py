# From docs/0-foundations/backprop-by-hand.md, which is its source: edit there.  [769d35b62209]
# %% the-short-form-1
"""A network of two layers and its gradients, written out without autograd."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from course.foundations.modules import linear, linear_backward


class Params(NamedTuple):
    """Weights and biases of the two layers, or their gradients.

    The order is that of ``nn.Sequential(nn.Linear(…), nn.Tanh(), nn.Linear(…))``, so
    that ``Params(*net.parameters())`` takes them over.
    """

    w1: Float[Tensor, "hidden inputs"]
    b1: Float[Tensor, "hidden"]
    w2: Float[Tensor, "classes hidden"]
    b2: Float[Tensor, "classes"]


def forward(
    params: Params, x: Float[Tensor, "batch inputs"]
) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch hidden"]]:
    """Return the logits, and the hidden units, which `backward` needs."""
    hidden = linear(x, params.w1, params.b1).tanh()
    return linear(hidden, params.w2, params.b2), hidden


def cross_entropy_backward(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
) -> Float[Tensor, "batch classes"]:
    """Return the gradient of the batch's mean cross-entropy with respect to `logits`.

    Raises
    ------
    RuntimeError
        If a label is no class. (Negative ones are not ignored, as PyTorch's -100 is.)
    """
    truth = one_hot(labels, logits.shape[1])
    return (logits.softmax(1) - truth) / len(labels)


def backward(
    params: Params,
    x: Float[Tensor, "batch inputs"],
    hidden: Float[Tensor, "batch hidden"],
    grad_logits: Float[Tensor, "batch classes"],
) -> tuple[Params, Float[Tensor, "batch inputs"]]:
    """Carry a gradient from the logits back to the parameters and to the input.

    Parameters
    ----------
    params : Params
        As they were in the forward pass.
    x, hidden : Tensor
        Input of `forward`, and the hidden units that it returned.
    grad_logits : Tensor
        Gradient of any loss with respect to the logits. Only it knows whether the loss
        is a mean or a sum over the batch.

    Returns
    -------
    Params, Tensor
        Gradients of the parameters, and of `x`.

    References
    ----------
    D. Rumelhart, G. Hinton and R. Williams, "Learning Representations by
    Back-propagating Errors", 1986.
    """
    grad_hidden, grad_w2, grad_b2 = linear_backward(grad_logits, hidden, params.w2)
    grad_preactivation = grad_hidden * (1 - hidden**2)
    grad_x, grad_w1, grad_b1 = linear_backward(grad_preactivation, x, params.w1)
    return Params(grad_w1, grad_b1, grad_w2, grad_b2), grad_x
