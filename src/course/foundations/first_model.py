# From docs/0-foundations/first-model.md, which is its source: edit there.  [82102c85dcee]
# %% a-trend-with-the-wrong-sign-2
"""Linear regression: two solvers, one model, and its error bars."""

import torch
from jaxtyping import Float
from torch import Tensor

from course.data.datasets import standardize


def add_bias(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d+1"]:
    """Append a column of ones, whose weight is the bias."""
    return torch.nn.functional.pad(x, (0, 1), value=1.0)


# %% a-right-angle-2
def normal_equation(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n *targets"]
) -> Float[Tensor, "d *targets"]:
    """Minimise the squared error of ``x @ w`` by solving ``x.T @ x @ w = x.T @ y``.

    The cheapest way, and the one that squares the condition number of `x`: use it on
    standardized features.

    Raises
    ------
    ValueError
        If the columns of `x` are linearly dependent, as far as its dtype can tell.
    """
    gram = x.T @ x
    factor, info = torch.linalg.cholesky_ex(gram)
    # A pivot is what the columns before leave of a column; this little is rounding.
    rounding = sum(x.shape) * torch.finfo(x.dtype).eps * gram.diagonal()
    if info or (factor.diagonal().square() <= rounding).any():
        raise ValueError(
            f"the columns of x are dependent in {x.dtype}: standardize them, or use least_squares"
        )
    moments = x.T @ y
    solution = torch.cholesky_solve(moments.reshape(len(moments), -1), factor)
    return solution.reshape(moments.shape)


# %% columns-that-say-the-same-3
def least_squares(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n *targets"], rcond: float | None = None
) -> Float[Tensor, "d *targets"]:
    """Minimise the squared error of ``x @ w``; of all minima take the shortest `w`.

    The stable way, by singular values: it does not square the condition number, and
    the columns of `x` may be dependent.

    Parameters
    ----------
    rcond : float, optional
        Directions with a singular value of at most `rcond` times the largest count as
        absent. By default the machine precision times the longer side of `x`.
    """
    if rcond is None:
        rcond = torch.finfo(x.dtype).eps * max(x.shape)
    u, sigma, vh = torch.linalg.svd(x, full_matrices=False)
    keep = sigma > rcond * sigma[0]
    return (vh[keep].T / sigma[keep]) @ (u[:, keep].T @ y)


# %% columns-that-say-the-same-6
def linear_regression(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n"]
) -> tuple[Float[Tensor, "d"], Float[Tensor, ""]]:
    """Fit ``x @ weight + bias`` to `y` by least squares, whatever the units of `x`.

    Where features are dependent, the standardized weights are the shortest; a feature
    that never changes gets the weight 0.

    Returns
    -------
    weight : Tensor, shape (d,)
        In units of `y` for each unit of the feature.
    bias : Tensor, shape ()
    """
    shifted = x - x[0]  # makes a constant feature exactly 0
    std = shifted.std(0)
    scaled = least_squares(standardize(shifted, shifted)[0], y - y.mean())
    weight = scaled / std.where(std > 0, 1.0)
    return weight, y.mean() - x.mean(0) @ weight


# %% how-far-off-are-the-weights-1
def standard_errors(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n"], w: Float[Tensor, "d"]
) -> Float[Tensor, "d"]:
    """Standard deviation of each weight of a least-squares fit, over new noise in `y`.

    Parameters
    ----------
    x : Tensor, shape (n, d)
        All columns that were fitted, the bias's ones among them; independent.
    w : Tensor, shape (d,)
        The fitted weights.

    Raises
    ------
    ValueError
        If there are not more rows than columns: nothing is left to tell the noise.
    """
    n, d = x.shape
    if n <= d:
        raise ValueError(f"{n} rows and {d} columns leave no residual to tell the noise")
    variance = (y - x @ w).square().sum() / (n - d)
    r = torch.linalg.qr(x, mode="r").R
    inverse = torch.linalg.solve_triangular(r, torch.eye(d).to(r), upper=True)
    return (variance * inverse.square().sum(1)).sqrt()


def r_squared(y: Float[Tensor, "n"], prediction: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Share of the variance of `y` that is predicted: 1 at best, 0 for its mean."""
    return 1 - (y - prediction).square().sum() / (y - y.mean()).square().sum()
