"""Builds ONNX graphs: nodes with given names, constants stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto


class GraphBuilder:
    """Collects nodes and initializers; a node's first output has the node's name.

    Attributes:
        nodes: in the order in which they were added.
        initializers: by name.
        outputs: names of everything that a node gives.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.outputs: set[str] = set()

    def add(self, kind: str, name: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; return its first output, the others are called `<name>:1` and so on.

        Args:
            kind: the operator, of ONNX's own set.
            name: of the node and of its first output.
            inputs: tensors; "" stands for an optional one that is left out.
            outputs: how many.
            attributes: the operator's.
        """
        from onnx import helper

        results = [name, *(f"{name}:{i}" for i in range(1, outputs))]
        self.outputs.update(results)
        self.nodes.append(helper.make_node(kind, inputs, results, name=name, **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store an array once; the same name means the same value."""
        from onnx import numpy_helper

        if name not in self.initializers:
            contiguous = np.ascontiguousarray(value).reshape(value.shape)
            self.initializers[name] = numpy_helper.from_array(contiguous, name)
        return name

    def number(self, value: float, dtype: DTypeLike = np.float32) -> str:
        """Store a scalar of float32 or float64, named by its value."""
        kind, digits = ("double", 17) if np.dtype(dtype) == np.float64 else ("float", 9)
        return self.constant(f"{kind}/{value:.{digits}g}", np.array(value, dtype))

    def integers(self, *values: int, scalar: bool = False) -> str:
        """Store an int64 vector, or scalar, named by its values."""
        array = np.array(values[0] if scalar else values, np.int64)
        return self.constant(
            f"int/{'scalar/' if scalar else ''}{'_'.join(map(str, values))}", array
        )

    def graph(
        self, name: str, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]
    ) -> GraphProto:
        """Return the finished graph."""
        from onnx import helper

        return helper.make_graph(
            self.nodes, name, inputs, outputs, initializer=list(self.initializers.values())
        )
