# From docs/0-foundations/perceptron.md, which is its source: edit there.  [e8e385a2b43a]
# %% which-side-and-how-far-1
"""The perceptron: a rule that learns from mistakes, its bound, and its multiclass form."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def signed_distance(
    x: Float[Tensor, "*n d"], w: Float[Tensor, "d"], b: Float[Tensor, ""]
) -> Float[Tensor, "*n"]:
    """Distance of points from ``w @ x + b = 0``, positive on the side where `w` points."""
    return (x @ w + b) / w.norm()


# %% act-on-a-mistake-and-only-then-5
def perceptron(
    x: Float[Tensor, "*#batch n d"], y: Float[Tensor, "*batch n"], epochs: int = 1000
) -> tuple[
    Float[Tensor, "*batch d"], Float[Tensor, "*batch"], Int[Tensor, "*batch epochs"]
]:
    """Learn a boundary from mistakes, in the order of the rows, from zero weights.

    Parameters
    ----------
    x : Tensor, shape (*batch, n, d)
        Rows of features; missing leading dimensions are those of `y`.
    y : Tensor, shape (*batch, n)
        Labels -1 and 1.
    epochs : int
        Passes at most; it stops after one in which no set had a mistake.

    Returns
    -------
    w : Tensor, shape (*batch, d)
    b : Tensor, shape (*batch)
    mistakes : Tensor, shape (*batch, passes)
        In each pass. The last is 0 where the boundary separates all rows.

    Raises
    ------
    ValueError
        If a label is neither -1 nor 1, or `epochs` is less than 1.

    References
    ----------
    F. Rosenblatt, *The perceptron: a probabilistic model for information storage and
    organization in the brain*, 1958.
    """
    if epochs < 1 or not (y.abs() == 1).all():
        raise ValueError("labels must be -1 or 1, and epochs at least 1")
    w, b = x.new_zeros(*y.shape[:-1], x.shape[-1]), x.new_zeros(y.shape[:-1])
    passes: list[Tensor] = []
    for _ in range(epochs):
        passes.append(torch.zeros(y.shape[:-1], dtype=torch.long))
        for row, label in zip(x.unbind(-2), y.unbind(-1), strict=True):
            wrong = label * ((w * row).sum(-1) + b) <= 0
            step = label * wrong  # 0 where the answer is right
            w, b = w + step[..., None] * row, b + step
            passes[-1] += wrong
        if not passes[-1].any():
            break
    return w, b, torch.stack(passes, -1)


# %% how-many-mistakes-at-most-1
def mistake_bound(
    x: Float[Tensor, "*batch n d"],
    y: Float[Tensor, "*batch n"],
    w: Float[Tensor, "*batch d"],
    b: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch"]:
    """(R/γ)²: no perceptron that starts from zero makes more mistakes on these rows.

    Parameters
    ----------
    x, y : Tensor
        Rows and their labels -1 and 1.
    w, b : Tensor
        A boundary that separates them, of any length. The larger its margin, the
        sharper the bound.

    Raises
    ------
    ValueError
        If `w` and `b` leave a row on the wrong side, or on the boundary.

    References
    ----------
    A. B. J. Novikoff, *On convergence proofs on perceptrons*, 1962.
    """
    score = (x * w[..., None, :]).sum(-1) + b[..., None]
    # The bias is a weight of the constant feature 1: it counts in both lengths.
    margin = (y * score).amin(-1) / (w.square().sum(-1) + b.square()).sqrt()
    if not (margin > 0).all():
        raise ValueError("w and b do not separate the rows")
    return (x.square().sum(-1).amax(-1) + 1) / margin**2


# %% let-them-compete-1
def multiclass_perceptron(
    x: Float[Tensor, "n d"],
    y: Int[Tensor, "n"],
    classes: int,
    epochs: int = 10,
    average: bool = False,
) -> tuple[
    Float[Tensor, "epochs classes d"],
    Float[Tensor, "epochs classes"],
    Int[Tensor, "epochs"],
]:
    """Learn one score for each class; only a wrong winner moves the weights.

    Parameters
    ----------
    x : Tensor, shape (n, d)
    y : Tensor, shape (n,)
        Classes, from 0 to ``classes - 1``. Of equal scores the lowest class wins.
    average : bool
        Return the mean of the weights after every row so far, which wrong labels and
        the order of the rows disturb far less than the weights themselves.

    Returns
    -------
    w, b : Tensor, shape (epochs, classes, d) and (epochs, classes)
        After each pass.
    mistakes : Tensor, shape (epochs,)
        In each pass.

    Raises
    ------
    ValueError
        If a class is out of range, or `epochs` is less than 1.

    References
    ----------
    K. Crammer, Y. Singer, *Ultraconservative online algorithms for multiclass
    problems*, 2003; Y. Freund, R. E. Schapire, *Large margin classification using the
    perceptron algorithm*, 1999.
    """
    if epochs < 1 or not ((y >= 0) & (y < classes)).all():
        raise ValueError(f"y must be in 0 … {classes - 1}, and epochs at least 1")
    rows = torch.cat([x, x.new_ones(len(x), 1)], 1)  # the last weight is the bias
    w = x.new_zeros(classes, rows.shape[1])
    total = torch.zeros_like(w)
    path, mistakes = [], torch.zeros(epochs, dtype=torch.long)
    for epoch in range(epochs):
        for row, label in zip(rows, y.tolist(), strict=True):
            guess = int((w @ row).argmax())
            if guess != label:
                w[label] += row
                w[guess] -= row
                mistakes[epoch] += 1
            if average:
                total += w
        path.append(total / ((epoch + 1) * len(x)) if average else w.clone())
    weights = torch.stack(path)
    return weights[..., :-1], weights[..., -1], mistakes
