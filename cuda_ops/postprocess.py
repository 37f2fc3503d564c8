"""Decoding and non-maximum suppression on the GPU, as `odtk_ray.ops` defines them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cuda_ops.arguments import MAX_LEVELS, DecodeArgs, LevelArgs, NmsArgs
from cuda_ops.device import Buffer, Device

Scalar = Literal["float16", "float32"]
Angles = Literal["own", "odtk"]

_BYTES = {"float16": 2, "float32": 4}

# The rotated forms of the kernels, by the angles that suppression compares boxes with.
_NMS = {None: "nms", "own": "nms_rotated", "odtk": "nms_rotated_odtk"}

# decode.cu and keys.cuh.
_SCAN_THREADS = 256
_LOADS = 4
_THREADS = 1024
_VECTOR = 16  # bytes

# Candidates listed of one image and level; where there are more, the scores are read again.
_CAPACITY = 16384

# Keys that a block sorts in shared memory; beside them it needs 8.2 KB of the 48 KB.
_SHARED_KEYS = 4096


@dataclass(frozen=True)
class Level:
    """One pyramid level.

    Attributes:
        height: rows of its feature maps.
        width: their columns.
        stride: pixels of the network input between neighbouring cells.
        anchors: float32 [A, 4], xyxy, of the cell at the origin.
    """

    height: int
    width: int
    stride: int
    anchors: NDArray[np.float32]


class Postprocess:
    """Scores and deltas of a batch in, detections out; all device memory is allocated here.

    Args:
        device: whose thread this is.
        levels: of the pyramid, at most 16, all with as many anchors.
        batch: B, images in a launch.
        classes: C.
        threshold: scores must be greater than this; at least 0.
        top_n: candidates kept of each level and image.
        nms: IoU that is still tolerated.
        detections: D, how many detections an image can have.
        dtype: of scores and deltas.
        logits: scores are logits, and not probabilities; they are ranked by their float32 sigmoid.
        channels_last: the memory is [B, h, w, channels] instead of [B, channels, h, w].
        score_bias: float [S], added to the scores, each sum rounded to `dtype`; None for none.
            Only in channels_last memory, which has S >= A*C channels then: of those beyond A*C the
            biases are minus infinity, so that they are no candidates.
        delta_bias: float [T], added to the deltas, likewise; what is beyond A*V is not read.
        rotated: for a rotated model, which angles suppression compares boxes with: each box's
            "own", or, as "odtk", that of the worse one. Others' boxes are axis-aligned.

    Attributes:
        box_values: V, numbers of a box: 4, xyxy with inclusive corners, or 6 where sin and cos
            follow. In pixels of the network input.
        scores: float32 [B, D], best first; unused slots are last and hold 0, as below.
        boxes: float32 [B, D, V].
        classes: int32 [B, D].
        candidate_scores: float32 [B, N], N = levels * top_n; unused slots of a level hold 0.
        candidate_boxes: float32 [B, N, V].
        candidate_classes: int32 [B, N].

    Raises:
        ValueError: a setting is out of range.
        CudaUnavailable: the kernels cannot be compiled.
    """

    def __init__(
        self,
        device: Device,
        levels: Sequence[Level],
        *,
        batch: int,
        classes: int,
        threshold: float,
        top_n: int,
        nms: float,
        detections: int,
        dtype: Scalar,
        logits: bool,
        channels_last: bool,
        score_bias: NDArray[np.floating[Any]] | None = None,
        delta_bias: NDArray[np.floating[Any]] | None = None,
        rotated: Angles | None = None,
    ) -> None:
        _check(levels, batch, classes, threshold, min(top_n, detections))
        self.box_values = 6 if rotated else 4
        anchors = len(levels[0].anchors)
        channels = _channels(anchors * classes, score_bias)
        delta_channels = _channels(anchors * self.box_values, delta_bias)
        _check_sizes(levels, channels)
        select = f"select_rotated_{dtype}" if rotated else f"select_{dtype}"
        self._scan = device.kernel("decode", f"scan_{dtype}", DecodeArgs)
        self._select = device.kernel("decode", select, DecodeArgs)
        self._suppress = device.kernel("nms", _NMS[rotated], NmsArgs)
        self._levels = len(levels)
        self._batch = batch

        segments = batch * len(levels)
        slots = segments * top_n
        self.candidate_scores = device.alloc(4 * slots)
        self.candidate_boxes = device.alloc(4 * self.box_values * slots)
        self.candidate_classes = device.alloc(4 * slots)
        self.scores = device.alloc(4 * batch * detections)
        self.boxes = device.alloc(4 * self.box_values * batch * detections)
        self.classes = device.alloc(4 * batch * detections)
        room = 1 << (top_n - 1).bit_length()
        capacity = max(top_n, _CAPACITY)
        self._counts = device.alloc(4 * segments)
        self._lists = device.alloc(8 * segments * capacity)
        self._workspace = device.alloc(8 * segments * room) if room > _SHARED_KEYS else None
        self._shared = 0 if self._workspace else 8 * room
        self._upload_anchors(device, levels)
        self._score_bias = _bias(device, score_bias, dtype)
        self._delta_bias = _bias(device, delta_bias, dtype)
        self._decode_args = DecodeArgs(
            counts=self._counts.ptr,
            lists=self._lists.ptr,
            workspace=self._workspace.ptr if self._workspace else None,
            scores=self.candidate_scores.ptr,
            boxes=self.candidate_boxes.ptr,
            classes=self.candidate_classes.ptr,
            level_count=len(levels),
            batch=batch,
            class_count=classes,
            capacity=capacity,
            top_n=top_n,
            cut=cut_bits(threshold, dtype, logits=logits),
            threshold=threshold,
            logits=logits,
            channels_last=channels_last,
            score_bias=self._score_bias.ptr if self._score_bias else None,
            delta_bias=self._delta_bias.ptr if self._delta_bias else None,
        )
        self._blocks = self._describe(levels, channels, delta_channels, _VECTOR // _BYTES[dtype])
        self._nms_args = NmsArgs(
            kept_scores=self.scores.ptr,
            kept_boxes=self.boxes.ptr,
            kept_classes=self.classes.ptr,
            count=len(levels) * top_n,
            detections=detections,
            threshold=nms,
        )

    def _upload_anchors(self, device: Device, levels: Sequence[Level]) -> None:
        """Copy the anchors of all levels, and clear the counters that launches add to."""
        anchors = np.stack([level.anchors for level in levels]).astype(np.float32)
        self._anchors = device.alloc(anchors.nbytes)
        device.upload(self._anchors.ptr, anchors)
        device.zero(self._counts)
        device.synchronize()

    def launch(self, score_ptrs: Sequence[int], delta_ptrs: Sequence[int]) -> None:
        """Queue decoding and suppression, from the heads' outputs to `scores`, `boxes`, `classes`.

        Args:
            score_ptrs: one for each level, [B, A*C or S, h, w], aligned to 16 bytes.
            delta_ptrs: one for each level, [B, A*V or T, h, w].
        """
        self.select(score_ptrs, delta_ptrs)
        self.suppress(
            self.candidate_scores.ptr, self.candidate_boxes.ptr, self.candidate_classes.ptr
        )

    def select(self, score_ptrs: Sequence[int], delta_ptrs: Sequence[int]) -> None:
        """Queue the first half: fill the candidates, level after level; see `launch`."""
        args = self._decode_args
        if len(score_ptrs) != self._levels or len(delta_ptrs) != self._levels:
            raise ValueError(f"{self._levels} levels need as many pointers to scores and deltas")
        for level, scores, deltas in zip(args.levels, score_ptrs, delta_ptrs, strict=False):
            if scores % _VECTOR:
                raise ValueError(f"scores at address {scores:#x} are not aligned to 16 bytes")
            level.scores, level.deltas = scores, deltas
        self._scan.launch((self._blocks, self._batch, 1), (_SCAN_THREADS, 1, 1), args)
        grid = (self._levels, self._batch, 1)
        self._select.launch(grid, (_THREADS, 1, 1), args, self._shared)

    def suppress(self, scores: int, boxes: int, classes: int) -> None:
        """Queue the second half: detections from candidates in any order.

        Args:
            scores: pointer to float32 [B, N], N = levels * top_n.
            boxes: pointer to float32 [B, N, V], aligned to 16 bytes.
            classes: pointer to int32 [B, N].
        """
        args = self._nms_args
        args.scores, args.boxes, args.classes = scores, boxes, classes
        self._suppress.launch((self._batch, 1, 1), (_THREADS, 1, 1), args)

    def _describe(
        self, levels: Sequence[Level], channels: int, delta_channels: int, values: int
    ) -> int:
        """Fill in the levels' sizes; return the blocks that scan one image."""
        blocks = 0
        step = len(levels[0].anchors) * 16
        for number, level in enumerate(levels):
            size = channels * level.height * level.width
            self._decode_args.levels[number] = LevelArgs(
                anchors=self._anchors.ptr + number * step,
                size=size,
                first_block=blocks,
                channels=channels,
                delta_channels=delta_channels,
                height=level.height,
                width=level.width,
                stride=level.stride,
            )
            vectors = size // values + 2  # with one at each end that is shared with a neighbour
            blocks += -(-vectors // (_SCAN_THREADS * _LOADS))
        return blocks


def _bias(device: Device, bias: NDArray[np.floating[Any]] | None, dtype: Scalar) -> Buffer | None:
    if bias is None:
        return None
    values = np.ascontiguousarray(bias, dtype)
    buffer = device.alloc(values.nbytes)
    device.upload(buffer.ptr, values)
    device.synchronize()  # the copy reads the array
    return buffer


def cut_bits(threshold: float, dtype: Scalar, *, logits: bool) -> int:
    """Return the bits of a value that no candidate lies below, which the scan compares with.

    It may be a little low, since every value that passes is ranked and compared exactly. For
    logits it is the inverse of the sigmoid, a little below the threshold: the float32 sigmoid is
    wrong by a few units in the last place, each at most 2^-23 of its value.

    Args:
        threshold: of the scores, at least 0.
        dtype: of the values.
        logits: whether the values are logits.

    Returns:
        A float32's bits, or those of a pair of equal float16 values.
    """
    cut = float(np.float32(threshold))
    if logits:
        low = min(cut * (1 - 2**-19), 1 - 2**-19)
        cut = math.log(low / (1 - low)) if low > 0 else -math.inf
    kind = np.dtype(dtype).type
    with np.errstate(over="ignore"):
        value = kind(cut)
    if value > cut:
        value = np.nextafter(value, kind(-math.inf))
    bits = int.from_bytes(value.tobytes(), "little")
    return bits | bits << 16 if dtype == "float16" else bits


def _check(levels: Sequence[Level], batch: int, classes: int, threshold: float, least: int) -> None:
    if not 0 < len(levels) <= MAX_LEVELS:
        raise ValueError(f"{len(levels)} levels, there can be 1 to {MAX_LEVELS}")
    if len({level.anchors.shape for level in levels}) != 1:
        raise ValueError("the levels have different numbers of anchors")
    if min(batch, classes, least) < 1:
        raise ValueError("batch, classes, top_n and detections must be at least 1")
    if not threshold >= 0:
        raise ValueError(f"the threshold is {threshold}, it must be at least 0")


def _channels(least: int, bias: NDArray[np.floating[Any]] | None) -> int:
    """Return how many channels a head has, by its bias."""
    if bias is None:
        return least
    if len(bias) < least:
        raise ValueError(f"{len(bias)} biases are too few for {least} channels")
    return len(bias)


def _check_sizes(levels: Sequence[Level], channels: int) -> None:
    for level in levels:
        size = channels * level.height * level.width
        if not 0 < size < 2**31:
            raise ValueError(f"a level with {size} scores an image cannot be indexed")
