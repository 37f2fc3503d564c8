"""A 3x3 convolution in FP8 (E4M3) through cuDNN's graphs, by the package nvidia-cudnn-frontend."""

from __future__ import annotations

import contextlib
from typing import Any

import cudnn
import torch
from gpu_time import kernel_time
from torch import Tensor

PLANS = 3  # a plan takes seconds to build


class CudnnConv:
    """The convolution of one layer at one size: relu(conv(x) * scale + bias), in one graph.

    Args:
        x: E4M3 [B, C, H, W], channels-last.
        weight: E4M3 [N, C, 3, 3], channels-last.
        scale: float32 [N], of each output channel.
        bias: float32 [N].
        dtype: of the output, E4M3 or FP16.
        relu: whether negative values become 0.

    Raises:
        cudnn.cudnnGraphNotSupportedError: cuDNN has no kernel for it.
        RuntimeError: none of its first plans works.
    """

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        *,
        dtype: torch.dtype,
        relu: bool = True,
    ) -> None:
        self._handle = cudnn.create_handle()
        stream = torch.cuda.current_stream().cuda_stream
        cudnn.set_stream(handle=self._handle, stream=stream)
        shape = len(x), len(weight), *x.shape[2:]
        self.output = torch.empty(shape, dtype=dtype, device=x.device)
        self.output = self.output.contiguous(memory_format=torch.channels_last)
        tensors = [x, weight, scale.view(1, -1, 1, 1), bias.view(1, -1, 1, 1), self.output]
        self._tensors = tensors  # whose addresses the graph is given
        self._graph, nodes = _graph(self._handle, tensors, relu=relu)
        pairs = zip(nodes, tensors, strict=True)
        self._addresses = {node: tensor.data_ptr() for node, tensor in pairs}
        self._choose()

    def _choose(self) -> None:
        """Take the quickest of the first plans that cuDNN can build."""
        times: dict[int, float] = {}
        for plan in range(min(PLANS, self._graph.get_execution_plan_count())):
            with contextlib.suppress(cudnn.cudnnGraphNotSupportedError, RuntimeError):
                self._graph.build_plan_at_index(plan)
                self._take(plan)
                times[plan] = kernel_time(self)
        if not times:
            raise RuntimeError(f"none of the first {PLANS} plans works")
        self._take(min(times, key=lambda plan: times[plan]))

    def _take(self, plan: int) -> None:
        size = self._graph.get_workspace_size_plan_at_index(plan)
        self._space = torch.empty(max(size, 1), dtype=torch.uint8, device=self.output.device)
        self._plan = plan

    def __call__(self) -> Tensor:
        """Compute the output of what `x` holds now."""
        self._graph.execute_plan_at_index(
            self._addresses, self._space.data_ptr(), self._plan, handle=self._handle
        )
        return self.output


def _graph(handle: Any, tensors: list[Tensor], *, relu: bool) -> tuple[Any, list[Any]]:
    """Return the graph, whose plans are listed but not built, and its nodes for the tensors.

    Args:
        handle: cuDNN's.
        tensors: input, weights, scale, bias and output.
        relu: see `CudnnConv`.
    """
    kinds = cudnn.data_type
    graph = cudnn.pygraph(
        io_data_type=kinds.FP8_E4M3,
        intermediate_data_type=kinds.FLOAT,
        compute_data_type=kinds.FLOAT,
        handle=handle,
    )
    *inputs, output = tensors
    x, weight, scale, bias = nodes = [_tensor(graph, tensor) for tensor in inputs]
    y = graph.conv_fprop(image=x, weight=weight, padding=[1, 1], stride=[1, 1], dilation=[1, 1])
    y = graph.add(a=graph.mul(a=y, b=scale), b=bias)
    y = graph.relu(input=y) if relu else y
    y.set_output(True).set_data_type(_kind(output))
    y.set_dim(list(output.shape)).set_stride(list(output.stride()))
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.check_support()
    return graph, [*nodes, y]


def _tensor(graph: Any, tensor: Tensor) -> Any:
    return graph.tensor(
        dim=list(tensor.shape), stride=list(tensor.stride()), data_type=_kind(tensor)
    )


def _kind(tensor: Tensor) -> Any:
    kinds = cudnn.data_type
    return {
        torch.float8_e4m3fn: kinds.FP8_E4M3,
        torch.float16: kinds.HALF,
        torch.float32: kinds.FLOAT,
    }[tensor.dtype]
