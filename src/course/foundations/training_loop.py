# From docs/0-foundations/training-loop.md, which is its source: edit there.  [a7342ab08527]
# %% five-calls-one-formula-2
"""One training step, evaluation, reproducible batches, checkpoints to resume from."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

LossFn = Callable[[Tensor, Tensor], Tensor]


def train_step(
    model: nn.Module,
    loss_fn: LossFn,
    optimizer: torch.optim.Optimizer,
    x: Num[Tensor, "batch ..."],
    y: Num[Tensor, "batch ..."],
) -> Float[Tensor, ""]:
    """Take one optimizer step on one batch; return the loss before it.

    Parameters
    ----------
    model : Module
        Used in the mode, training or evaluation, that it is in.
    loss_fn : callable
        Maps ``model(x)`` and ``y`` to a scalar.
    optimizer : Optimizer
        Holds the parameters of `model` that are to be trained.
    x, y : Tensor
        Inputs and targets, examples along the first axis.

    Returns
    -------
    Tensor, shape ()
        Cut off from the graph, so that a list of losses keeps no graph alive. Not a
        ``float``: that would make the processor wait for a GPU at every step.
    """
    optimizer.zero_grad()
    output = model(x)
    loss = loss_fn(output, y)
    loss.backward()
    optimizer.step()
    return loss.detach()


# %% measure-without-touching-1
@torch.no_grad()
def evaluate(
    model: nn.Module, loss_fn: LossFn, batches: Iterable[tuple[Tensor, Tensor]]
) -> float:
    """Return the mean of `loss_fn` over all examples, without dropout or a graph.

    Parameters
    ----------
    model : Module
        Put into evaluation mode, and afterwards back, all layers alike.
    loss_fn : callable
        Maps ``model(x)`` and ``y`` to a *mean* over the batch: a loss, an accuracy.
    batches : iterable of (x, y)
        Examples along the first axis; batches may differ in size.

    Raises
    ------
    ZeroDivisionError
        If `batches` is empty: an iterator that was used up before, for instance.
    """
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for x, y in batches:
        total += loss_fn(model(x), y).item() * len(y)
        count += len(y)
    model.train(was_training)
    return total / count


# %% two-curves-not-one-1
def accuracy(
    logits: Float[Tensor, "*batch classes"], y: Int[Tensor, "*batch"]
) -> Float[Tensor, ""]:
    """Return the share of examples whose largest logit is that of the label.

    Parameters
    ----------
    logits : Tensor, shape (..., classes)
        Or any other scores: only their order counts. Of equal ones the first wins.
    y : Tensor, shape (...)
        The right classes, from 0.
    """
    return (logits.argmax(-1) == y).float().mean()


# %% stop-and-go-on-1
def batch_rows(
    step: int, n: int, batch_size: int, seed: int = 0
) -> Int[Tensor, "batch_size"]:
    """Return the rows of batch number `step`, from epochs that are each shuffled anew.

    A pure function of its arguments: a run that resumes has no sampler to restore.
    The price is a shuffle of all `n` rows at each call. All batches are full; each
    epoch leaves out other ``n % batch_size`` examples.

    Parameters
    ----------
    step : int
        Number of the batch, from 0.
    n : int
        Number of examples.
    batch_size, seed : int

    Raises
    ------
    ValueError
        If not ``1 <= batch_size <= n``.
    """
    if not 1 <= batch_size <= n:
        raise ValueError(f"need 1 <= batch_size <= n, got {batch_size} and {n}")
    epoch, place = divmod(step, n // batch_size)
    # A multiple, so that epoch 1 of seed 0 is not epoch 0 of seed 1.
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    order = torch.randperm(n, generator=generator)
    return order[place * batch_size : (place + 1) * batch_size]


# %% stop-and-go-on-3
def save_checkpoint(path: Path, step: int, **parts: Any) -> None:
    """Write a checkpoint, whole or not at all: a crash leaves the old one in place.

    Parameters
    ----------
    path : Path
    step : int
        Steps taken so far, which is also the number of the next one.
    **parts
        What else the next step depends on, by name: anything with a ``state_dict``, and
        generators, such as ``torch.default_generator``, from which dropout draws.
    """
    state: dict[str, Any] = {"step": step}
    for name, part in parts.items():
        is_generator = isinstance(part, torch.Generator)
        state[name] = part.get_state() if is_generator else part.state_dict()
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # the bytes reach the disk before the name does
    partial.replace(path)


def load_checkpoint(path: Path, **parts: Any) -> int:
    """Restore the parts of a checkpoint in place; return its step.

    To read one part alone, take ``torch.load(path)[name]``.

    Raises
    ------
    ValueError
        If the names of `parts` are not the saved ones. Nothing is restored then.
    """
    saved = torch.load(path, map_location="cpu", weights_only=True)
    step: int = saved.pop("step")
    if saved.keys() != parts.keys():
        raise ValueError(f"{path.name} holds {sorted(saved)}, not {sorted(parts)}")
    for name, part in parts.items():
        if isinstance(part, torch.Generator):
            part.set_state(saved[name])
        else:
            part.load_state_dict(saved[name])
    return step
