# From docs/1-training/automatic-differentiation.md, which is its source: edit there.  [7bd749bbef4e]
# %% from-numbers-to-arrays-2
"""Reverse-mode automatic differentiation of numpy arrays, under torch's names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

from course.autodiff.scalar import topological_order

Array = Float[np.ndarray, "..."]
Operand = Union["Tensor", np.ndarray, np.generic, float, int]


def unbroadcast(grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the axes along which broadcasting repeated its tensor."""
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    repeated = tuple(extra + i for i, size in enumerate(shape) if size == 1)
    out: Array = grad.sum(axis=(*range(extra), *repeated), keepdims=True).reshape(shape)
    return out


# %% from-numbers-to-arrays-3
# operation -> (output, *inputs, **options) -> a vector-Jacobian product for each input
VJP: dict[Callable[..., Any], Callable[..., tuple[Callable[[Array], Array], ...]]] = {}

_recording = True


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: results have no graph and keep no arrays alive."""
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


def apply(operation: Callable[..., Any], *inputs: Operand, **options: Any) -> "Tensor":
    """Run a numpy operation on tensors, and record how to walk back through it.

    Parameters
    ----------
    operation : callable
        A key of `VJP`. It takes arrays and returns an array.
    *inputs : Tensor, array or number
        At least one Tensor. The others are constants and take its dtype.
    **options
        Passed on to the operation, and to its entry in `VJP`.

    Raises
    ------
    KeyError
        If `VJP` has no entry for the operation.
    """
    dtype = next(x.dtype for x in inputs if isinstance(x, Tensor))
    tensors = [
        x if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype)) for x in inputs
    ]
    arrays = [x.data for x in tensors]
    out = Tensor(operation(*arrays, **options))
    out.data.flags.writeable = False  # a derivative may need it later
    vjps = VJP[operation](out.data, *arrays, **options)
    edges = [(x, vjp) for x, vjp in zip(tensors, vjps, strict=True) if x.requires_grad]
    if _recording and edges:
        out.requires_grad = True
        out.parents = tuple(x for x, _ in edges)
        out.vjps = tuple(vjp for _, vjp in edges)
    return out


# %% from-numbers-to-arrays-4
def propagate(root: "Tensor", gradient: npt.ArrayLike | None = None) -> None:
    """Add the gradient of a tensor to the `grad` of every leaf that it depends on.

    Parameters
    ----------
    root : Tensor
        Where the walk starts.
    gradient : array_like, optional
        The gradient of the final result with respect to root, of its shape.
        One by default, if root is a single number.

    Raises
    ------
    RuntimeError
        If root has no graph, or is no single number and `gradient` is missing.
    ValueError
        If `gradient` has another shape than root.
    """
    if not root.requires_grad:
        raise RuntimeError("nothing behind this tensor requires a gradient")
    if gradient is None and root.data.size != 1:
        raise RuntimeError(f"backward of a tensor of shape {root.shape} needs a gradient")
    seed = np.asarray(np.ones(root.shape) if gradient is None else gradient, root.dtype)
    if seed.shape != root.shape:
        raise ValueError(f"gradient of shape {seed.shape} for shape {root.shape}")
    grads = {root: seed}
    for node in topological_order(root):
        grad = np.asarray(grads.pop(node))  # complete: every consumer came before
        if not node.parents:
            node.grad = np.array(grad if node.grad is None else node.grad + grad)
        for parent, vjp in zip(node.parents, node.vjps, strict=True):
            part = unbroadcast(np.asarray(vjp(grad), parent.dtype), parent.shape)
            grads[parent] = grads[parent] + part if parent in grads else part


# %% from-numbers-to-arrays-5
class Tensor:
    """A numpy array that remembers how it was computed.

    Methods have torch's names, arguments and meaning, but for `max`, which returns values only.

    Parameters
    ----------
    data : array_like
        float32 and float64 keep their dtype and share memory; anything that is not floating
        point becomes float64.
    requires_grad : bool
        Whether `backward` shall fill `grad`.

    Attributes
    ----------
    grad : ndarray or None
        Of the shape and dtype of `data`. Only leaves have one; each `backward` adds to it.
    parents, vjps : tuple
        The edges of the graph. They live as long as the tensor: `backward` may be called again.
    """

    __array_ufunc__ = None  # `array * tensor`: numpy stands back for Tensor.__rmul__

    def __init__(self, data: npt.ArrayLike, requires_grad: bool = False) -> None:
        array = np.asarray(data)
        floating = np.issubdtype(array.dtype, np.floating)
        self.data: Array = array if floating else array.astype(np.float64)
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.parents: tuple[Tensor, ...] = ()
        self.vjps: tuple[Callable[[Array], Array], ...] = ()

    def backward(self, gradient: npt.ArrayLike | None = None) -> None:
        """Add the gradient of this tensor to the `grad` of its leaves: see `propagate`."""
        propagate(self, gradient)

    def detach(self) -> "Tensor":
        """Return the same data without a graph."""
        return Tensor(self.data)

    def item(self) -> float:
        """Return the only element as a Python number."""
        return float(self.data.item())

    def __repr__(self) -> str:
        return f"Tensor({self.data}, requires_grad={self.requires_grad})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __add__(self, other: Operand) -> "Tensor":
        return apply(np.add, self, other)

    def __sub__(self, other: Operand) -> "Tensor":
        return apply(np.subtract, self, other)

    def __rsub__(self, other: Operand) -> "Tensor":
        return apply(np.subtract, other, self)

    def __mul__(self, other: Operand) -> "Tensor":
        return apply(np.multiply, self, other)

    def __truediv__(self, other: Operand) -> "Tensor":
        return apply(np.divide, self, other)

    def __rtruediv__(self, other: Operand) -> "Tensor":
        return apply(np.divide, other, self)

    def __pow__(self, exponent: Operand) -> "Tensor":
        return apply(np.power, self, exponent)

    def __neg__(self) -> "Tensor":
        return apply(np.negative, self)

    __radd__ = __add__
    __rmul__ = __mul__
    pow = __pow__

    def exp(self) -> "Tensor":
        return apply(np.exp, self)

    def log(self) -> "Tensor":
        return apply(np.log, self)

    def tanh(self) -> "Tensor":
        return apply(np.tanh, self)

    def relu(self) -> "Tensor":
        return apply(relu, self)

    def __matmul__(self, other: "Tensor | np.ndarray") -> "Tensor":
        if other.ndim == 1:
            return (self @ other[:, None])[..., 0]
        if self.ndim == 1:
            return (self[None] @ other)[..., 0, :]
        return apply(np.matmul, self, other)

    def __rmatmul__(self, other: np.ndarray) -> "Tensor":
        return Tensor(np.asarray(other, self.dtype)) @ self

    def _reduce(
        self, operation: Callable[..., Any], dim: int | tuple[int, ...] | None, keepdim: bool
    ) -> "Tensor":
        # The operations keep the axis: then their gradient broadcasts against their input.
        out = apply(operation, self, axis=dim, keepdims=True)
        return out if keepdim else out.reshape(np.squeeze(out.data, axis=dim).shape)

    def sum(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> "Tensor":
        return self._reduce(np.sum, dim, keepdim)

    def mean(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> "Tensor":
        total = self.sum(dim, keepdim)
        return total / (self.data.size / total.data.size)

    def max(self, dim: int | tuple[int, ...] | None = None, keepdim: bool = False) -> "Tensor":
        """Return the largest values; equal ones share the gradient, as in `torch.amax`."""
        return self._reduce(np.max, dim, keepdim)

    amax = max

    def logsumexp(self, dim: int | tuple[int, ...], keepdim: bool = False) -> "Tensor":
        return self._reduce(logsumexp, dim, keepdim)

    def log_softmax(self, dim: int) -> "Tensor":
        return self - self.logsumexp(dim, keepdim=True)

    def softmax(self, dim: int) -> "Tensor":
        return self.log_softmax(dim).exp()

    def reshape(self, *shape: int | tuple[int, ...]) -> "Tensor":
        return apply(reshape, self, shape=shape)

    def transpose(self, dim0: int, dim1: int) -> "Tensor":
        return apply(np.swapaxes, self, axis1=dim0, axis2=dim1)

    @property
    def T(self) -> "Tensor":
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ValueError(f"T is for matrices, not for shape {self.shape}: see transpose")
        return self.transpose(0, 1)

    def __getitem__(self, key: Any) -> "Tensor":
        return apply(getitem, self, key=key)


# %% the-table-of-derivatives-1
def relu(x: Array) -> Array:
    """Return x where it is positive, else 0; its derivative at 0 is taken as 0."""
    out: Array = np.maximum(x, 0)
    return out


VJP[np.add] = lambda out, a, b: (lambda g: g, lambda g: g)
VJP[np.subtract] = lambda out, a, b: (lambda g: g, lambda g: -g)
VJP[np.multiply] = lambda out, a, b: (lambda g: g * b, lambda g: g * a)
VJP[np.divide] = lambda out, a, b: (lambda g: g / b, lambda g: -g * out / b)
VJP[np.power] = lambda out, a, b: (
    lambda g: g * b * a ** (b - (b != 0)),  # a**0 is constant, at a = 0 too
    lambda g: g * out * np.log(a),
)
VJP[np.negative] = lambda out, x: (lambda g: -g,)
VJP[np.exp] = lambda out, x: (lambda g: g * out,)
VJP[np.log] = lambda out, x: (lambda g: g / x,)
VJP[np.tanh] = lambda out, x: (lambda g: g * (1 - out**2),)
VJP[relu] = lambda out, x: (lambda g: g * (out > 0),)


# %% the-table-of-derivatives-2
def logsumexp(x: Array, axis: int | tuple[int, ...], keepdims: bool) -> Array:
    """Return the logarithm of a sum of exponentials, without overflow."""
    top = x.max(axis=axis, keepdims=True)
    out: Array = top + np.log(np.exp(x - top).sum(axis=axis, keepdims=True))
    return out if keepdims else np.squeeze(out, axis=axis)


VJP[np.sum] = lambda out, x, axis, keepdims: (lambda g: np.broadcast_to(g, x.shape),)
VJP[np.max] = lambda out, x, axis, keepdims: (
    lambda g: g * (x == out) / (x == out).sum(axis=axis, keepdims=True),
)
VJP[logsumexp] = lambda out, x, axis, keepdims: (lambda g: g * np.exp(x - out),)


# %% the-table-of-derivatives-3
def reshape(x: Array, shape: tuple[int | tuple[int, ...], ...]) -> Array:
    """Return x in another shape, given as torch takes it: `(2, 3)` or `((2, 3),)`."""
    return x.reshape(*shape)  # type: ignore[arg-type]


def getitem(x: Array, key: Any) -> Array:
    """Return the entries of x at any index that numpy understands."""
    return np.asarray(x[key])


def _getitem_vjp(g: Array, x: Array, key: Any) -> Array:
    grad = np.zeros_like(x)
    np.add.at(grad, key, g)  # unlike grad[key] += g, adds for every occurrence
    return grad


VJP[np.matmul] = lambda out, a, b: (
    lambda g: g @ b.swapaxes(-1, -2),
    lambda g: a.swapaxes(-1, -2) @ g,
)
VJP[reshape] = lambda out, x, shape: (lambda g: g.reshape(x.shape),)
VJP[np.swapaxes] = lambda out, x, axis1, axis2: (lambda g: g.swapaxes(axis1, axis2),)
VJP[getitem] = lambda out, x, key: (lambda g: _getitem_vjp(g, x, key),)


# %% the-same-as-torch-1
def numerical_gradient(
    f: Callable[[Array], float], x: Float[np.ndarray, "*shape"], h: float = 1e-6
) -> Float[np.ndarray, "*shape"]:
    """Differentiate by central differences: slow, inexact, and independent of `VJP`.

    Parameters
    ----------
    f : callable
        From an array to a number.
    x : array, float64
        Where to differentiate.
    h : float
        The step. The error is of order h**2 + 1e-16 / h.
    """
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        grad[i] = (f(x + step) - f(x - step)) / (2 * h)
    return grad
