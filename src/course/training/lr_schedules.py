# From docs/1-training/lr-schedules.md, which is its source: edit there.  [8b3dc5f6803e]
# %% no-constant-is-right-1
"""Learning-rate schedules: a factor of the peak rate as a pure function of the step."""

import math
from collections.abc import Callable

import torch

Schedule = Callable[[int], float]
"""Maps the number of the step about to be taken, from 0, to a factor of the peak rate."""


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give each parameter group `factor` times the learning rate that it began with.

    Parameters
    ----------
    optimizer : Optimizer
        At the first call its groups keep their rates as ``initial_lr``, as PyTorch's
        schedulers do; ``state_dict`` saves and restores it.
    factor : float
        Value of a schedule for the step that comes next.
    """
    for group in optimizer.param_groups:
        group["lr"] = factor * group.setdefault("initial_lr", group["lr"])


# %% schedules-as-functions-of-the-step-1
def constant() -> Schedule:
    """Return 1 at every step."""
    return lambda step: 1.0


def step_decay(every: int, factor: float = 0.1) -> Schedule:
    """Multiply by `factor` after `every` so many steps."""
    return lambda step: factor ** (step // every)


def exponential(factor: float) -> Schedule:
    """Multiply by `factor` at each step; above 1, it sweeps the rate upwards."""
    return lambda step: factor**step


def inverse_sqrt(timescale: float) -> Schedule:
    """Fall like the inverse root of the step, to 0.71 after `timescale` steps.

    Behind ``warmup(timescale - 1, ...)`` it is the schedule of the Transformer.

    References
    ----------
    A. Vaswani et al., "Attention is all you need", 2017, equation 3.
    """
    return lambda step: (1 + step / timescale) ** -0.5


# %% schedules-as-functions-of-the-step-2
def linear(steps: int, floor: float = 0.0) -> Schedule:
    """Fall from 1 to `floor` in a straight line, and stay there.

    Parameters
    ----------
    steps : int
        The budget. `floor` is the value of step number `steps`, the first one after it.
    floor : float
        As a factor of the peak rate.

    Raises
    ------
    ValueError
        If `steps` is not positive.
    """
    _check_positive(steps)
    return lambda step: floor + (1 - floor) * (1 - min(step / steps, 1.0))


def cosine(steps: int, floor: float = 0.0) -> Schedule:
    """Fall from 1 to `floor` along half a period of the cosine; arguments as in `linear`.

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR", 2016, without the restarts.
    """
    _check_positive(steps)
    return lambda step: floor + (1 - floor) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2


def wsd(steps: int, decay: int, shape: str = "sqrt") -> Schedule:
    """Stay at 1, then fall to 0 within the last `decay` of `steps` steps.

    Behind a `warmup` it is warmup, stable, decay.

    Parameters
    ----------
    steps, decay : int
        The budget, and how much of it is spent falling.
    shape : {"sqrt", "linear"}
        One minus the root of the share of the decay that is over, or one minus the share.

    Raises
    ------
    ValueError
        If not ``1 <= decay <= steps``, or for an unknown `shape`.

    References
    ----------
    S. Hu et al., "MiniCPM", 2024; A. Hägele et al., 2024, for the root.
    """
    if not 1 <= decay <= steps:
        raise ValueError(f"need 1 <= decay <= steps, got {decay} and {steps}")
    if shape not in ("sqrt", "linear"):
        raise ValueError(f"shape is 'sqrt' or 'linear', not {shape!r}")
    power = 0.5 if shape == "sqrt" else 1.0

    def factor(step: int) -> float:
        over = min(max(step - (steps - decay), 0) / decay, 1.0)
        return 1 - over**power

    return factor


def _check_positive(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")


# %% schedules-as-functions-of-the-step-3
def warmup(steps: int, then: Schedule) -> Schedule:
    """Rise from ``1 / (steps + 1)`` in a straight line, then follow `then` from its step 0.

    Parameters
    ----------
    steps : int
        How many steps come before the peak. A budget in `then` does not count them.
    then : Schedule
    """
    return lambda step: (step + 1) / (steps + 1) if step < steps else then(step - steps)
