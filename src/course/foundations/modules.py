# From docs/0-foundations/linear-layer-and-module.md, which is its source: edit there.  [38672fc26057]
# %% ten-perceptrons-one-matrix-1
"""The linear layer, and modules that know their parameters: a small `torch.nn`."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.hooks import RemovableHandle


def linear(
    x: Float[Tensor, "*batch d_in"],
    weight: Float[Tensor, "d_out d_in"],
    bias: Float[Tensor, "d_out"] | None = None,
) -> Float[Tensor, "*batch d_out"]:
    """Apply ``x @ weight.T + bias`` to the last axis; all axes before it are kept."""
    y = x @ weight.T
    return y if bias is None else y + bias


# %% three-gradients-1
def linear_backward(
    grad_y: Float[Tensor, "*batch d_out"],
    x: Float[Tensor, "*batch d_in"],
    weight: Float[Tensor, "d_out d_in"],
) -> tuple[
    Float[Tensor, "*batch d_in"], Float[Tensor, "d_out d_in"], Float[Tensor, "d_out"]
]:
    """Return the gradients of `x`, `weight` and `bias`, from that of the output."""
    rows, inputs = grad_y.reshape(-1, len(weight)), x.reshape(-1, weight.shape[1])
    return grad_y @ weight, rows.T @ inputs, rows.sum(0)


# %% an-assignment-that-registers-2
class Parameter(Tensor):
    """A tensor that a `Module` registers, when it is assigned, as one to be trained.

    ``Parameter(data, requires_grad=True)`` shares the memory of `data`, and is always a
    leaf of the graph.
    """

    # What is computed from a parameter is a plain tensor: only the leaf is trained.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(cls, data: Tensor, requires_grad: bool = True) -> "Parameter":
        parameter = data.detach().as_subclass(cls)
        parameter.requires_grad = requires_grad
        return parameter

    def __deepcopy__(self, memo: dict[int, Any]) -> "Parameter":
        return type(self)(self.detach().clone(), self.requires_grad)


# %% an-assignment-that-registers-5
class Module:
    """A layer, or a tree of them, that knows its parameters, buffers and children.

    A subclass calls ``super().__init__()`` first, then assigns parameters and modules to
    attributes, and defines `forward`. A tensor that is not a `Parameter`, and whatever
    is inside a list or a dict, is not registered.

    Attributes
    ----------
    training : bool
        The mode, for `forward` to ask; true at first.
    """

    training: bool

    def __init__(self) -> None:
        vars(self).update(_parameters={}, _buffers={}, _modules={})
        vars(self).update(_forward_hooks=OrderedDict(), training=True)

    def __setattr__(self, name: str, value: Any) -> None:
        parameters, buffers, modules = self._tables()
        if isinstance(value, Parameter | Module):
            if "_parameters" not in vars(self):
                raise AttributeError(f"call super().__init__() before you assign {name!r}")
            home = parameters if isinstance(value, Parameter) else modules
            for other in (vars(self), parameters, buffers, modules):
                if other is not home:
                    other.pop(name, None)
            home[name] = value
        elif name in parameters or name in modules:
            raise TypeError(
                f"{name!r} is registered: assign a Parameter or a Module to it, "
                f"not a {type(value).__name__}"
            )
        elif name in buffers:
            self.register_buffer(name, value)
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # asked only for what is no plain attribute
        for table in self._tables():
            if name in table:
                return table[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def _tables(self) -> list[dict[str, Any]]:
        return [vars(self).get(t, {}) for t in ("_parameters", "_buffers", "_modules")]

    def register_buffer(self, name: str, tensor: Tensor) -> None:
        """Add a tensor that is saved with the module, but not trained.

        Raises
        ------
        KeyError
            If another attribute has this name.
        TypeError
            If it is no tensor.
        """
        if not isinstance(tensor, Tensor):
            raise TypeError(f"buffer {name!r} must be a Tensor, not {type(tensor).__name__}")
        if hasattr(self, name) and name not in self._buffers:
            raise KeyError(f"there is an attribute {name!r} already")
        self._buffers[name] = tensor

    def _named_tensors(self, prefix: str, *tables: str) -> Iterator[tuple[str, Any]]:
        for table in tables:
            for name, tensor in vars(self)[table].items():
                yield prefix + name, tensor
        for name, module in self._modules.items():
            yield from module._named_tensors(f"{prefix}{name}.", *tables)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield the parameters of the tree, a shared one once, under its first name."""
        seen = set()
        for name, parameter in self._named_tensors("", "_parameters"):
            if parameter not in seen:
                seen.add(parameter)
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Yield what an optimizer needs: the parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def state_dict(self) -> dict[str, Tensor]:
        """Return all parameters and buffers under all their names, cut off from the graph.

        They are the live tensors: clone them to keep their values.
        """
        named = self._named_tensors("", "_parameters", "_buffers")
        return {name: tensor.detach() for name, tensor in named}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the values of `state` into the parameters and buffers, in place.

        Raises
        ------
        RuntimeError
            If names are missing or unexpected, or shapes differ. Nothing is copied then.
        """
        own = self.state_dict()
        problems = [f"missing {name!r}" for name in own if name not in state]
        problems += [f"unexpected {name!r}" for name in state if name not in own]
        problems += [
            f"{name!r} has shape {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        if problems:
            raise RuntimeError(f"{type(self).__name__}: " + "; ".join(problems))
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def train(self, mode: bool = True) -> "Module":
        """Set `training` in the whole tree; return the module."""
        self.training = mode
        for module in self._modules.values():
            module.train(mode)
        return self

    def eval(self) -> "Module":
        """Leave training mode, in the whole tree; return the module."""
        return self.train(False)

    def register_forward_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward pass.

        Returns
        -------
        RemovableHandle
            Its method ``remove()`` ends that.
        """
        handle = RemovableHandle(self._forward_hooks)
        self._forward_hooks[handle.id] = hook
        return handle

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self.forward(*args, **kwargs)
        for hook in self._forward_hooks.values():
            hook(self, args, output)
        return output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; a subclass says how."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")


# %% the-layer-and-what-it-starts-with-1
class Linear(Module):
    """The layer ``y = x @ weight.T + bias``, initialized as `torch.nn.Linear` is.

    Weights and biases are drawn from the uniform distribution on ±1/√in_features, with
    torch's global generator.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether there is a bias; without, the attribute is None.
    dtype : torch.dtype, optional

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_features)
        weight = torch.empty(out_features, in_features, dtype=dtype)
        self.weight = Parameter(weight.uniform_(-bound, bound))
        self.bias = None
        if bias:
            self.bias = Parameter(weight.new_empty(out_features).uniform_(-bound, bound))

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Apply the layer to the last axis."""
        return linear(x, self.weight, self.bias)


class Sequential(Module):
    """Modules in a row, named "0", "1", …, each called with the output of the one before.

    Raises
    ------
    TypeError
        If something in the row is no `Module`, such as a bare function.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"layer {i} is a {type(module).__name__}, not a Module")
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        """Call the modules one after the other."""
        for module in self._modules.values():
            x = module(x)
        return x

    def __getitem__(self, i: int) -> Module:
        return list(self._modules.values())[i]


# %% how-it-goes-wrong-4
def graph_leaves(result: Tensor) -> set[Tensor]:
    """Return the tensors whose ``.grad`` ``result.backward()`` would write to."""
    leaves, seen, waiting = set(), set(), [result.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [source for source, _ in node.next_functions]
            if hasattr(node, "variable"):  # an end of the graph
                leaves.add(node.variable)
    return leaves
