# From docs/1-training/automatic-differentiation.md, which is its source: edit there.  [895165b4ffe9]
# %% the-program-is-a-graph-8
"""Reverse-mode automatic differentiation of scalars."""

import math
from typing import Any


def topological_order(root: Any) -> list[Any]:
    """List a graph from its root to its leaves, every node before its parents.

    Iterative, so that the depth of the graph is not limited by Python's call stack.

    Parameters
    ----------
    root : node
        Anything hashable with an attribute `parents`, a tuple of nodes.
    """
    order: list[Any] = []
    seen: set[Any] = set()
    stack = [(root, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((parent, False) for parent in node.parents)
    return order[::-1]


# %% the-program-is-a-graph-10
Number = int | float


class Value:
    """A number that remembers how it was computed.

    Parameters
    ----------
    data : float
        The number.
    parents : tuple of Value
        The values that it was computed from; none for a leaf.
    derivatives : tuple of float
        The derivative of this value with respect to each parent.

    Attributes
    ----------
    grad : float
        The derivative of a result with respect to this value; each `backward` adds one.

    References
    ----------
    The interface follows Karpathy's micrograd, https://github.com/karpathy/micrograd.
    """

    def __init__(
        self,
        data: Number,
        parents: "tuple[Value, ...]" = (),
        derivatives: tuple[Number, ...] = (),
    ) -> None:
        self.data = data
        self.grad = 0.0
        self.parents = parents
        self.derivatives = derivatives

    def __repr__(self) -> str:
        return f"Value(data={self.data:g}, grad={self.grad:g})"

    def __add__(self, other: "Value | Number") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: "Value | Number") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, exponent: Number) -> "Value":
        slope = exponent * self.data ** (exponent - 1)
        return Value(self.data**exponent, (self,), (slope,))

    def exp(self) -> "Value":
        out = math.exp(self.data)
        return Value(out, (self,), (out,))

    def log(self) -> "Value":
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def tanh(self) -> "Value":
        out = math.tanh(self.data)
        return Value(out, (self,), (1 - out**2,))

    def relu(self) -> "Value":
        return Value(max(self.data, 0.0), (self,), (float(self.data > 0),))

    def __neg__(self) -> "Value":
        return self * -1

    def __sub__(self, other: "Value | Number") -> "Value":
        return self + -other

    def __truediv__(self, other: "Value | Number") -> "Value":
        return self * other**-1

    def __rsub__(self, other: Number) -> "Value":
        return -self + other

    def __rtruediv__(self, other: Number) -> "Value":
        return self**-1 * other

    __radd__ = __add__
    __rmul__ = __mul__

    def backward(self) -> None:
        """Add the derivative of this value to the `grad` of all that it depends on."""
        order = topological_order(self)
        grads = dict.fromkeys(order, 0.0)  # apart from `grad`, which earlier passes filled
        grads[self] = 1.0
        for node in order:
            node.grad += grads[node]
            for parent, derivative in zip(node.parents, node.derivatives, strict=True):
                grads[parent] += derivative * grads[node]
