# From docs/0-foundations/regularization.md, which is its source: edit there.  [2023d461b901]
# %% one-penalty-four-names-1
"""Bets on new data: small weights, a short walk, images that may move."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn


def l2_penalty(parameters: Iterable[Tensor], alpha: float) -> Float[Tensor, ""]:
    """Return ``alpha / 2`` times the sum of all squares; its gradient is ``alpha * w``.

    Added to a loss it is SGD's ``weight_decay=alpha``. Hand in the weights, not the
    biases: those only move the output, and a price on them ties it to zero.

    Raises
    ------
    ValueError
        If there are no parameters: a generator that was used up before, for instance.
    """
    squares = [p.square().sum() for p in parameters]
    if not squares:
        raise ValueError("no parameters to decay: was the generator used up before?")
    return alpha / 2 * torch.stack(squares).sum()


# %% a-bet-on-a-short-walk-4
class EarlyStopping:
    """Keep the model of the lowest validation loss; say when to stop waiting for a lower.

    Attributes
    ----------
    loss : float
        The lowest so far.
    waited : int
        Evaluations since then.
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1, not {patience}")
        self.patience, self.loss, self.waited = patience, math.inf, 0
        self._best: dict[str, Tensor] = {}

    def update(self, model: nn.Module, loss: float) -> bool:
        """Note a validation loss; return whether `patience` of them brought no lower."""
        self.waited += 1
        if loss < self.loss:  # False for NaN
            self.loss, self.waited = loss, 0
            # Copies: the tensors of a state_dict are those that the next step changes.
            self._best = {k: v.detach().clone() for k, v in model.state_dict().items()}
        return self.waited >= self.patience

    def restore(self, model: nn.Module) -> None:
        """Load the best weights and buffers; RuntimeError if no loss was a number."""
        if not self._best:
            raise RuntimeError("nothing to restore: no loss so far was a number")
        model.load_state_dict(self._best)


# %% a-bet-on-the-images-1
def shift(
    images: Float[Tensor, "... height width"], offset: Float[Tensor, "... 2"]
) -> Float[Tensor, "... height width"]:
    """Move images down and to the right by any fraction of a pixel, blank coming in.

    Parameters
    ----------
    images : Tensor, shape (..., height, width)
    offset : Tensor, shape (..., 2)
        Rows and columns to move by, for each image; or of shape (2,), for all.
    """

    def shares(size: int, move: Float[Tensor, "..."]) -> Float[Tensor, "... size size"]:
        place = torch.arange(size).to(images)
        distance = place[:, None] - place - move[..., None, None]
        return (1 - distance.abs()).clamp(min=0)

    height, width = images.shape[-2:]
    return shares(height, offset[..., 0]) @ images @ shares(width, offset[..., 1]).mT


def distort(
    images: Float[Tensor, "... height width"], strength: float, generator: torch.Generator
) -> Float[Tensor, "... height width"]:
    """Turn, slant, stretch and move each image at random.

    Each of the four entries of a linear map of the plane differs from the identity's by
    up to ``0.2 * strength``, and the centre moves by up to ``strength / 16`` of the
    image, half a pixel of eight at strength 1.
    """
    height, width = images.shape[-2:]
    flat = images.reshape(-1, 1, height, width)
    change = 2 * torch.rand(len(flat), 2, 3, generator=generator, dtype=images.dtype) - 1
    change = change * strength * torch.tensor([0.2, 0.2, 1 / 8]).to(images)  # sides are ±1
    grid = nn.functional.affine_grid(
        torch.eye(2, 3).to(images) + change, list(flat.shape), align_corners=False
    )
    moved = nn.functional.grid_sample(flat, grid, align_corners=False)
    return moved.reshape(images.shape)
