# From docs/0-foundations/overfitting.md, which is its source: edit there.  [d1d7594b8ccd]
# %% perfect-and-still-wrong-1
"""Where the error of a model comes from: bias, variance, and the peak between them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """`count` linear layers side by side: one batched matmul, and no layer sees another.

    Parameters
    ----------
    count, in_features, out_features : int
        How many layers, and the sizes of each.
    generator : torch.Generator, optional
        For the start, which has the range of `torch.nn.Linear`.
    """

    def __init__(
        self,
        count: int,
        in_features: int,
        out_features: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        bound = in_features**-0.5

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(bound * (2 * torch.rand(*shape, generator=generator) - 1))

        self.weight = uniform(count, in_features, out_features)
        self.bias = uniform(count, 1, out_features)

    def forward(
        self, x: Float[Tensor, "*stack n in_features"]
    ) -> Float[Tensor, "count n out_features"]:
        """Pass `x[i]` through layer `i`; an `x` without a stack goes through each."""
        return x @ self.weight + self.bias


def cross_entropies(
    logits: Float[Tensor, "count n classes"], labels: Int[Tensor, "count n"]
) -> Float[Tensor, " count"]:
    """Return the mean cross-entropy of each network.

    Train on their sum: each network then gets the gradient of its own.
    """
    return nn.functional.cross_entropy(logits.mT, labels, reduction="none").mean(1)


# %% perfect-and-still-wrong-4
def subsamples(n: int, size: int, count: int, seed: int = 0) -> Int[Tensor, "count size"]:
    """Draw `count` random subsets of the rows 0 … n - 1, each without repeats.

    Raises
    ------
    ValueError
        If `size` is larger than `n`.
    """
    if size > n:
        raise ValueError(f"cannot draw {size} of {n} rows without repeats")
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, n, generator=generator).argsort(1)[:, :size]


# %% three-terms-1
def bias_variance(
    predictions: Float[Tensor, "resamples *shape"], target: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Estimate squared bias and variance from models trained on independent samples.

    Both are unbiased, and their sum is exactly the mean of ``(predictions - target)**2``.

    Parameters
    ----------
    predictions : Tensor, shape (resamples, *shape)
        One prediction from each model.
    target : Tensor, shape (*shape)
        The truth without noise. Noise in it counts as bias.

    Returns
    -------
    bias_squared, variance : Tensor, shape (*shape)
        The first is an estimate, and can be negative where the bias is small.

    Raises
    ------
    ValueError
        If there are fewer than two models, or `target` has another shape than one
        prediction: it would broadcast.

    References
    ----------
    S. Geman, E. Bienenstock, R. Doursat, *Neural networks and the bias/variance
    dilemma*, 1992.
    """
    count = len(predictions)
    if count < 2:
        raise ValueError(f"{count} model cannot show how models scatter")
    if predictions.shape[1:] != target.shape:
        shapes = tuple(predictions.shape[1:]), tuple(target.shape)
        raise ValueError("one prediction has the shape {}, the target {}".format(*shapes))
    variance = predictions.var(0)
    # The mean of `count` models scatters too, by variance / count.
    bias_squared = (predictions.mean(0) - target).square() - variance / count
    return bias_squared, variance


# %% where-weights-equal-examples-1
def random_features(
    x: Float[Tensor, "n d"], width: int, seed: int = 0
) -> Float[Tensor, "n width"]:
    """Pass `x` through a ReLU layer with random weights that are never trained.

    Weights are standard normal, without a bias: let the mean of `x` be 0. The same
    `seed` gives the same layer. Inner products stay of the same size for any `width`.

    References
    ----------
    A. Rahimi, B. Recht, *Random features for large-scale kernel machines*, 2007.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(width, x.shape[1], generator=generator, dtype=x.dtype)
    return torch.relu(x @ weight.T) * (2 / width) ** 0.5


def ridge_regression(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n *targets"], ridge: float = 0.0
) -> Float[Tensor, "d *targets"]:
    """Minimise ``(x @ w - y).square().sum() + ridge * w.square().sum()``.

    Parameters
    ----------
    ridge : float
        The price of length, for all columns alike. With 0, of all best `w` the shortest.

    Raises
    ------
    ValueError
        If `ridge` is negative.
    """
    if ridge < 0:
        raise ValueError(f"ridge must not be negative, got {ridge}")
    u, sigma, vh = torch.linalg.svd(x, full_matrices=False)
    keep = sigma > torch.finfo(x.dtype).eps * max(x.shape) * sigma[0]
    gain = sigma[keep] / (sigma[keep].square() + ridge)
    return (vh[keep].T * gain) @ (u[:, keep].T @ y)
