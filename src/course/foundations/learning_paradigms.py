# From docs/0-foundations/learning-paradigms.md, which is its source: edit there.  [945cb8056f32]
# %% which-directions-matter-1
"""Learning without labels: principal components, k-means, and hidden pixels."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


class PCA(NamedTuple):
    """The mean of some rows, and the orthonormal directions in which they vary most."""

    mean: Float[Tensor, "d"]
    components: Float[Tensor, "k d"]
    explained_variance: Float[Tensor, "k"]

    def encode(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch k"]:
        """Return the coordinates of `x` along the components."""
        return (x - self.mean) @ self.components.T

    def decode(self, z: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch d"]:
        """Return the point that has the coordinates `z`."""
        return self.mean + z @ self.components


def pca(x: Float[Tensor, "n d"], k: int) -> PCA:
    """Find the `k` directions of largest variance, the largest first.

    Parameters
    ----------
    x : Tensor, shape (n, d)
        At least two rows. They need not be centred.
    k : int
        At most ``min(n, d)``.

    Raises
    ------
    ValueError
        If there are fewer than `k` directions, or than two rows.

    References
    ----------
    K. Pearson, "On lines and planes of closest fit to systems of points in space", 1901.
    """
    n, d = x.shape
    if n < 2 or not 1 <= k <= min(n, d):
        raise ValueError(f"{n} rows of {d} numbers do not have {k} principal components")
    mean = x.mean(0)
    _, singular, components = torch.linalg.svd(x - mean, full_matrices=False)
    return PCA(mean, components[:k], singular[:k].square() / (n - 1))


# %% which-images-belong-together-2
class KMeans(NamedTuple):
    """Centres, the number of each row's centre, and the objective at each assignment."""

    centers: Float[Tensor, "k d"]
    clusters: Int[Tensor, "n"]
    objective: Float[Tensor, "steps"]


def kmeans(
    x: Float[Tensor, "n d"], centers: Float[Tensor, "k d"], max_iter: int = 300
) -> KMeans:
    """Move centres to the means of their nearest rows until none changes sides.

    Parameters
    ----------
    x : Tensor, shape (n, d)
    centers : Tensor, shape (k, d)
        The start, for instance from `kmeans_plus_plus`. It decides where the end is.
    max_iter : int
        Moves at most.

    Returns
    -------
    KMeans
        A centre that no row is nearest to stays where it was. (scikit-learn moves it to
        the row that lies farthest from its own.)

    References
    ----------
    S. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information
    Theory 28(2), 1982.
    """
    k = len(centers)
    squares, clusters = torch.cdist(x, centers).square().min(1)
    objective = [squares.sum()]
    for _ in range(max_iter):
        members = F.one_hot(clusters, k).to(x.dtype)  # (n, k)
        count = members.sum(0)[:, None]
        centers = torch.where(count > 0, members.T @ x / count.clamp(min=1), centers)
        before = clusters
        squares, clusters = torch.cdist(x, centers).square().min(1)
        objective.append(squares.sum())
        if torch.equal(clusters, before):
            break
    return KMeans(centers, clusters, torch.stack(objective))


# %% which-images-belong-together-3
def kmeans_plus_plus(
    x: Float[Tensor, "n d"], k: int, generator: torch.Generator
) -> Float[Tensor, "k d"]:
    """Draw `k` rows to start `kmeans` from, spread out over the data.

    Raises
    ------
    ValueError
        If `x` has fewer than `k` different rows.

    References
    ----------
    D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", 2007.
    """
    first = int(torch.randint(len(x), (1,), generator=generator))
    chosen = [first]
    squares = (x - x[first]).square().sum(1)
    while len(chosen) < k:
        if not squares.any():
            raise ValueError(f"only {len(chosen)} of the rows differ, not {k}")
        row = int(torch.multinomial(squares, 1, generator=generator))
        chosen.append(row)
        squares = torch.minimum(squares, (x - x[row]).square().sum(1))
    return x[chosen]


# %% hide-a-part-predict-it-2
def mask_pixels(
    x: Float[Tensor, "*shape"], ratio: float, generator: torch.Generator, fill: float = 0.0
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Hide each entry with probability `ratio`.

    Returns
    -------
    visible : Tensor of the same shape
        A copy of `x` with `fill` in the hidden places. `x` is left alone: it is the target.
    hidden : Tensor of bool
        True where an entry is hidden.

    Raises
    ------
    ValueError
        If `ratio` is not between 0 and 1.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"need 0 < ratio < 1, got {ratio}")
    hidden = torch.rand(x.shape, generator=generator) < ratio
    return x.masked_fill(hidden, fill), hidden


def masked_mse_loss(
    input: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    hidden: Bool[Tensor, "*shape"],
) -> Float[Tensor, ""]:
    """Return the mean squared error over the hidden entries.

    Raises
    ------
    ValueError
        If nothing is hidden: the mean of nothing would be nan.
    """
    if not hidden.any():
        raise ValueError("nothing is hidden, so there is nothing to predict")
    return ((input - target).square() * hidden).sum() / hidden.sum()


# %% what-the-few-labels-find-1
def linear_probe(
    features: Float[Tensor, "*draws n d"],
    labels: Int[Tensor, "*draws n"],
    classes: int = 10,
    l2: float = 0.01,
) -> tuple[Float[Tensor, "*draws classes d"], Float[Tensor, "*draws classes"]]:
    """Fit softmax regression on features that stay as they are, one for each draw.

    Parameters
    ----------
    features : Tensor, shape (..., n, d)
        Of similar scale each. No gradient flows back into what made them.
    labels : Tensor, shape (..., n)
        From 0 to ``classes - 1``.
    l2 : float
        Half of it times the squared weights (not biases) is added to the mean loss.

    Returns
    -------
    weight, bias : Tensor, shapes (..., classes, d) and (..., classes)

    References
    ----------
    G. Alain, Y. Bengio, *Understanding intermediate layers using linear classifier
    probes*, 2016, arXiv 1610.01644.
    """
    features = features.detach()
    *draws, n, d = features.shape
    weight = features.new_zeros(*draws, classes, d, requires_grad=True)
    bias = features.new_zeros(*draws, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=200, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = features @ weight.mT + bias[..., None, :]
        fit = F.cross_entropy(logits.reshape(-1, classes), labels.flatten(), reduction="sum")
        total = fit / n + l2 / 2 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weight.detach(), bias.detach()
