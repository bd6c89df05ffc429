# From docs/0-foundations/digits-end-to-end.md, which is its source: edit there.  [6155f1123747]
# %% the-question-and-what-a-glance-gives-2
"""The digits project: training, errors, calibration, and predictions from a file."""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from course.foundations.convolution import conv_net
from course.foundations.regularization import distort
from course.foundations.training_loop import (
    batch_rows,
    evaluate,
    load_checkpoint,
    train_step,
)

Examples = tuple[Tensor, Tensor]  # pixels (n, 64) from 0 to 1, labels (n,)


def train_digits(
    train: Examples,
    validation: Examples,
    make: Callable[[], nn.Module] = conv_net,
    seed: int = 0,
    epochs: int = 20,
    lr: float = 0.5,
    strength: float = 1.0,
    weight_decay: float = 0.0,
) -> tuple[nn.Module, Float[Tensor, "epochs 2"]]:
    """Train a network on the digits with SGD, in batches of 32.

    Parameters
    ----------
    train, validation : (pixels, labels)
        Of shape (n, 64) and (n,). The second is only measured.
    make : callable
        Builds the network; called once, after seeding the global generator.
    lr : float
        Learning rate of the first step; from there it falls linearly to zero.
    strength : float
        Of the random distortion of each training image; see `distort`.

    Returns
    -------
    model : Module
        As it is at the end.
    curves : Tensor, shape (epochs, 2)
        For each epoch the mean training loss, taken while the weights move and on
        distorted images; then the loss on `validation`.
    """
    torch.manual_seed(seed)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    pixels, labels = train
    per_epoch = len(pixels) // 32
    curves = torch.zeros(epochs, 2)
    for step in range(epochs * per_epoch):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / (epochs * per_epoch))
        rows = batch_rows(step, len(pixels), 32, seed)
        x = pixels[rows]
        if strength:
            x = distort(x.view(-1, 8, 8), strength, generator).flatten(1)
        loss = train_step(model, cross_entropy, optimizer, x, labels[rows])
        epoch, place = divmod(step, per_epoch)
        curves[epoch, 0] += loss / per_epoch
        if place == per_epoch - 1:
            curves[epoch, 1] = evaluate(model, cross_entropy, [validation])
    return model, curves


# %% where-it-fails-1
def confusion_matrix(
    y: Int[Tensor, "n"], guess: Int[Tensor, "n"], classes: int
) -> Int[Tensor, "classes classes"]:
    """Count the examples of each true class (row) that got each answer (column).

    Raises
    ------
    ValueError
        If a class is not in ``0 … classes - 1``.
    """
    both = torch.stack([y, guess])
    if ((both < 0) | (both >= classes)).any():
        raise ValueError(f"classes must be in 0 … {classes - 1}")
    return torch.bincount(y * classes + guess, minlength=classes**2).view(classes, classes)


# %% can-its-confidence-be-believed-1
def expected_calibration_error(
    confidence: Float[Tensor, "n"], correct: Bool[Tensor, "n"], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy, over bins of equal width.

    Parameters
    ----------
    confidence : Tensor, shape (n,)
        Probability given to the answer, from 0 to 1; a bin contains its upper end.
    correct : Tensor, shape (n,)
    bins : int

    References
    ----------
    C. Guo et al., *On calibration of modern neural networks*, 2017.
    """
    place = ((confidence * bins).ceil().long() - 1).clamp(min=0)
    gap = confidence.new_zeros(bins).index_add(0, place, confidence - correct.to(confidence))
    return gap.abs().sum().item() / len(confidence)


def fit_temperature(logits: Float[Tensor, "n classes"], y: Int[Tensor, "n"]) -> float:
    """Return the T, from 0.01 to 100, for which ``logits / T`` has the lowest loss.

    Raises
    ------
    ValueError
        If it lies outside, as when all answers are right: then no T is small enough.
    """

    def slope(beta: float) -> float:
        expected = ((beta * logits).softmax(1) * logits).sum(1)
        return (expected - logits.gather(1, y[:, None])[:, 0]).mean().item()

    low, high = math.log(0.01), math.log(100)  # of beta = 1 / T
    if not slope(math.exp(low)) < 0 < slope(math.exp(high)):
        raise ValueError("no temperature between 0.01 and 100 is best on these examples")
    for _ in range(60):
        middle = (low + high) / 2
        if slope(math.exp(middle)) < 0:
            low = middle
        else:
            high = middle
    return math.exp(-low)


# %% save-it-and-use-it-1
@torch.no_grad()
def predict(
    path: Path, pixels: Float[Tensor, "n 64"]
) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """Read digits with the `conv_net` that a checkpoint holds as ``model``.

    Parameters
    ----------
    path : Path
        Written by `save_checkpoint` with the one part ``model``.
    pixels : Tensor, shape (n, 64)
        Grey values from 0 (paper) to 1 (ink), row by row.

    Returns
    -------
    digit, confidence : Tensor, shape (n,)

    Raises
    ------
    ValueError
        If a pixel is not between 0 and 1, or the checkpoint has other parts.
    """
    if not ((pixels >= 0) & (pixels <= 1)).all():
        raise ValueError("pixels must lie between 0 (paper) and 1 (ink)")
    model = conv_net().eval()
    load_checkpoint(path, model=model)
    confidence, digit = model(pixels).softmax(1).max(1)
    return digit, confidence
