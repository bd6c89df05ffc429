# From docs/0-foundations/what-is-learning.md, which is its source: edit there.  [2c01e77ad792]
# %% a-memory-and-a-rule-1
"""A spam filter by rule and by learning, on mail whose law is known."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FEATURES = ("links", "exclamations", "capitals", "known sender", "hour")


@dataclass(frozen=True)
class Mail:
    """The law of a stream of messages; each pair gives ham first, then spam.

    Given its class, the features of a message are independent.

    Attributes
    ----------
    spam_share : float
        Probability that a message is spam.
    links, exclamations, capitals : (float, float)
        Mean of a Poisson law, cut at 15.
    known : (float, float)
        Probability that the sender is in the address book.
    rhythm : (float, float)
        The hour `h` has a probability proportional to
        ``exp(rhythm * cos(2π (h - 14) / 24))``: 0 is the same all day.

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1, or a mean is negative.
    """

    spam_share: float = 0.4
    links: tuple[float, float] = (0.6, 2.0)
    exclamations: tuple[float, float] = (0.5, 1.5)
    capitals: tuple[float, float] = (1.0, 2.0)
    known: tuple[float, float] = (0.6, 0.2)
    rhythm: tuple[float, float] = (2.0, 0.0)

    def __post_init__(self) -> None:
        if not all(0 <= p <= 1 for p in (self.spam_share, *self.known)):
            raise ValueError(f"spam_share and known must be in [0, 1]: {self}")
        if not all(m >= 0 for m in self.links + self.exclamations + self.capitals):
            raise ValueError(f"a mean count must not be negative: {self}")


# %% a-memory-and-a-rule-2
def feature_tables(mail: Mail) -> list[Float[Tensor, "2 _"]]:
    """Probability of each value of each feature, ham in row 0 and spam in row 1."""

    def column(pair: tuple[float, float]) -> Float[Tensor, "2 1"]:
        return torch.tensor(pair, dtype=torch.float64)[:, None]

    counts = torch.arange(16, dtype=torch.float64)
    poisson = [
        torch.softmax(torch.xlogy(counts, column(mean)) - torch.lgamma(counts + 1), 1)
        for mean in (mail.links, mail.exclamations, mail.capitals)
    ]
    known = torch.cat([1 - column(mail.known), column(mail.known)], 1)
    angle = 2 * math.pi / 24 * (torch.arange(24, dtype=torch.float64) - 14)
    return [*poisson, known, torch.softmax(column(mail.rhythm) * angle.cos(), 1)]


def sample_mail(
    mail: Mail, n: int, seed: int
) -> tuple[Float[Tensor, "n 5"], Float[Tensor, "n"]]:
    """Draw `n` messages.

    Returns
    -------
    x : Tensor, shape (n, 5), float32
        The `FEATURES`: three counts, 1 for a known sender, an hour from 0 to 23.
    y : Tensor, shape (n,), float32
        1 for spam, 0 for ham.
    """
    generator = torch.Generator().manual_seed(seed)
    spam = torch.rand(n, generator=generator) < mail.spam_share
    columns = [
        torch.multinomial(table[spam.long()], 1, generator=generator)
        for table in feature_tables(mail)
    ]
    return torch.cat(columns, 1).float(), spam.float()


# %% a-memory-and-a-rule-5
def hand_rule(x: Float[Tensor, "n 5"]) -> Bool[Tensor, "n"]:
    """Call it spam if an unknown sender uses two links or two exclamation marks."""
    links, exclamations, _, known, _ = x.unbind(1)
    return (known == 0) & ((links >= 2) | (exclamations >= 2))


# %% how-sure-is-the-number-1
from statistics import NormalDist


def wilson_interval(
    correct: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Error bar of an accuracy measured on `n` independent examples.

    Parameters
    ----------
    correct, n : int
        How many were right, of how many.
    confidence : float
        How often such an interval is to contain the truth.

    Raises
    ------
    ValueError
        If not ``0 <= correct <= n`` with ``n >= 1``.

    References
    ----------
    E. B. Wilson, *Probable inference, the law of succession, and statistical
    inference*, 1927.
    """
    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"{correct} correct of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / n
    centre = share + z**2 / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (centre - reach) / (1 + z**2 / n), (centre + reach) / (1 + z**2 / n)


# %% the-best-that-anyone-can-do-1
def every_message(
    mail: Mail,
) -> tuple[Float[Tensor, "messages 5"], Float[Tensor, "messages 2"]]:
    """List all possible messages, and the probability of each as ham and as spam.

    Returns
    -------
    x : Tensor, shape (196608, 5), float32
    joint : Tensor, shape (196608, 2), float64
        All entries together sum to 1.
    """
    tables = feature_tables(mail)
    x = torch.cartesian_prod(*[torch.arange(table.shape[1]) for table in tables])
    prior = [[1 - mail.spam_share], [mail.spam_share]]
    joint = torch.tensor(prior, dtype=torch.float64)  # (2, 1)
    for table in tables:
        joint = (joint[:, :, None] * table[:, None, :]).flatten(1)
    return x.float(), joint.T


def exact_accuracy(
    says_spam: Bool[Tensor, "messages"], joint: Float[Tensor, "messages 2"]
) -> float:
    """Probability that the answers, one for each possible message, are right."""
    return joint.gather(1, says_spam.long()[:, None]).sum().item()


# %% let-the-machine-choose-3
def logistic_loss(
    w: Float[Tensor, "d"],
    b: Float[Tensor, ""],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n"],
) -> Float[Tensor, ""]:
    """Mean of minus the log-probability, in nats, of the labels 0 and 1."""
    z = x @ w + b
    return (torch.nn.functional.softplus(z) - y * z).mean()


def logistic_gradient(
    w: Float[Tensor, "d"],
    b: Float[Tensor, ""],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "n"],
) -> tuple[Float[Tensor, "d"], Float[Tensor, ""]]:
    """Gradient of `logistic_loss` with respect to `w` and `b`."""
    error = torch.sigmoid(x @ w + b) - y
    return x.T @ error / len(y), error.mean()


# %% let-the-machine-choose-4
def fit_logistic(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n"], lr: float = 2.0, steps: int = 100
) -> tuple[Float[Tensor, "d"], Float[Tensor, ""]]:
    """Minimise `logistic_loss` by gradient descent from zero; return `w` and `b`.

    The defaults suit a few standardized features. On classes that a line separates
    without error there is no minimum: the weights grow with `steps`.
    """
    w, b = x.new_zeros(x.shape[1]), x.new_zeros(())
    for _ in range(steps):
        grad_w, grad_b = logistic_gradient(w, b, x, y)
        w, b = w - lr * grad_w, b - lr * grad_b
    return w, b
