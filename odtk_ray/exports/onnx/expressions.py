"""Arithmetic on tensors of a graph that is being written: formulas look like those of `ops/`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from odtk_ray.exports.graph_builder import GraphBuilder

_AFTER = np.iinfo(np.int64).max  # the end of a slice that runs to the end


class Scope:
    """Collects the nodes of expressions, and names them `<prefix>/<operator>_<n>`.

    Args:
        builder: gets the nodes.
        prefix: of their names; no two scopes of a graph share it.
        dtype: of the numbers in expressions.
        constants: gets the constants: of a Loop's body the graph around it, whose tensors are known
            inside.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        prefix: str,
        dtype: DTypeLike = np.float32,
        constants: GraphBuilder | None = None,
    ) -> None:
        self._builder, self._prefix, self._dtype = builder, prefix, dtype
        self.constants = constants or builder
        self._count = 0

    def add(self, kind: str, *inputs: Operand, outputs: int = 1, **attributes: Any) -> Value:
        """Add a node; return its first output."""
        self._count += 1
        names = [
            value.name if isinstance(value, Value) else self.constants.number(value, self._dtype)
            for value in inputs
        ]
        name = f"{self._prefix}/{kind}_{self._count}"
        return self.of(self._builder.add(kind, name, *names, outputs=outputs, **attributes))

    def of(self, name: str) -> Value:
        """Wrap an existing tensor."""
        return Value(self, name)

    def integers(self, *values: int) -> Value:
        """Store an int64 vector."""
        return self.of(self.constants.integers(*values))

    def constant(self, name: str, values: ArrayLike) -> Value:
        """Store an array of the scope's type; the same name means the same values."""
        return self.of(self.constants.constant(name, np.asarray(values, self._dtype)))

    def split(self, value: Value, count: int, axis: int) -> list[Value]:
        """Split a value into parts of length 1 along an axis of length `count`."""
        name = self.add("Split", value, outputs=count, axis=axis).name
        return [self.of(name), *(self.of(f"{name}:{i}") for i in range(1, count))]


class Value:
    """A tensor; operators add nodes to its scope, and numbers take the scope's type.

    Attributes:
        scope: where.
        name: of the tensor.
    """

    def __init__(self, scope: Scope, name: str) -> None:
        self.scope, self.name = scope, name

    def __add__(self, other: Operand) -> Value:
        return self.scope.add("Add", self, other)

    def __sub__(self, other: Operand) -> Value:
        return self.scope.add("Sub", self, other)

    def __mul__(self, other: Operand) -> Value:
        return self.scope.add("Mul", self, other)

    def __truediv__(self, other: Operand) -> Value:
        return self.scope.add("Div", self, other)

    def __neg__(self) -> Value:
        return self.scope.add("Neg", self)

    def __gt__(self, other: Operand) -> Value:
        return self.scope.add("Greater", self, other)

    def __lt__(self, other: Operand) -> Value:
        return self.scope.add("Less", self, other)

    def __and__(self, other: Value) -> Value:
        return self.scope.add("And", self, other)

    def __or__(self, other: Value) -> Value:
        return self.scope.add("Or", self, other)

    def equals(self, other: Operand) -> Value:
        """Compare elementwise for equality; bool."""
        return self.scope.add("Equal", self, other)

    def where(self, condition: Value, other: Operand) -> Value:
        """Select this value where the condition holds, elsewhere the other."""
        return self.scope.add("Where", condition, self, other)

    def minimum(self, other: Operand) -> Value:
        """Compute the lesser of both; of NaN and a number either."""
        return self.scope.add("Min", self, other)

    def maximum(self, other: Operand) -> Value:
        """Compute the greater of both; of NaN and a number either."""
        return self.scope.add("Max", self, other)

    def columns(self, start: int, stop: int = _AFTER) -> Value:
        """Slice the last axis."""
        begin, end, axis = (self.scope.integers(n) for n in (start, stop, -1))
        return self.scope.add("Slice", self, begin, end, axis)

    def rows(self, place: Value) -> Value:
        """Select rows [B, k, n] of [B, N, n], or [B, k] of [B, N], by int64 [B, k, 1]."""
        return self.scope.add("GatherND", self, place, batch_dims=1)

    def product(self) -> Value:
        """Multiply over the last axis, which is removed."""
        return self.scope.add("ReduceProd", self, axes=[-1], keepdims=0)

    def sum(self, axis: int) -> Value:
        """Sum over an axis, which stays with length 1."""
        return self.scope.add("ReduceSum", self, self.scope.integers(axis), keepdims=1)

    def cast(self, kind: int) -> Value:
        """Convert to another of ONNX's types."""
        return self.scope.add("Cast", self, to=kind)


Operand: TypeAlias = "Value | float"
