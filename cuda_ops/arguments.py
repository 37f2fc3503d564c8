"""The argument structures of the kernels in decode.cu, nms.cu and iou.cu."""

from __future__ import annotations

import ctypes

MAX_LEVELS = 16

_pointer, _int, _unsigned = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint


class LevelArgs(ctypes.Structure):
    """`Level` of decode.cu."""

    _fields_ = (
        ("scores", _pointer),
        ("deltas", _pointer),
        ("anchors", _pointer),
        ("size", _unsigned),
        ("first_block", _unsigned),
        ("channels", _int),
        ("delta_channels", _int),
        ("height", _int),
        ("width", _int),
        ("stride", _int),
    )


class DecodeArgs(ctypes.Structure):
    """`DecodeArgs` of decode.cu."""

    _fields_ = (
        ("levels", LevelArgs * MAX_LEVELS),
        ("counts", _pointer),
        ("lists", _pointer),
        ("workspace", _pointer),
        ("scores", _pointer),
        ("boxes", _pointer),
        ("classes", _pointer),
        ("level_count", _int),
        ("batch", _int),
        ("class_count", _int),
        ("capacity", _unsigned),
        ("top_n", _unsigned),
        ("cut", _unsigned),
        ("threshold", ctypes.c_float),
        ("logits", _int),
        ("channels_last", _int),
        ("score_bias", _pointer),
        ("delta_bias", _pointer),
    )


class NmsArgs(ctypes.Structure):
    """`NmsArgs` of nms.cu."""

    _fields_ = (
        ("scores", _pointer),
        ("boxes", _pointer),
        ("classes", _pointer),
        ("kept_scores", _pointer),
        ("kept_boxes", _pointer),
        ("kept_classes", _pointer),
        ("count", _unsigned),
        ("detections", _unsigned),
        ("threshold", ctypes.c_float),
    )


class IouArgs(ctypes.Structure):
    """`IouArgs` of iou.cu."""

    _fields_ = (
        ("boxes1", _pointer),
        ("boxes2", _pointer),
        ("ious", _pointer),
        ("count", _unsigned),
    )
