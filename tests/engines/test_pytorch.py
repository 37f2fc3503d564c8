"""The engine against ODTK's checkpoint layout and slow loops: the whole way of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from odtk_ray.engines.pytorch import PyTorchEngine
from odtk_ray.model.checkpoint import load_checkpoint
from odtk_ray.settings import MEAN, STD, Postprocessing

SHAPE = (128, 256)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(11)
    sizes = [(128, 256), (100, 171), (33, 64)]
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]


def normalised(picture):
    """ODTK's loader by hand: /255, mean, std in float32, then zeros to the right and below."""
    batch = np.zeros((1, 3, *SHAPE), np.float32)
    height, width, _ = picture.shape
    for channel in range(3):
        values = picture[:, :, channel].astype(np.float32) / np.float32(255)
        values = (values - np.float32(MEAN[channel])) / np.float32(STD[channel])
        batch[0, channel, :height, :width] = values
    return torch.from_numpy(batch)


def anchor_table(stride, ratios, scales):
    """The CURRENT anchors, written out."""
    table = []
    for scale in scales:
        for ratio in ratios:
            w = np.sqrt(stride * stride / ratio)
            h = w * ratio
            table.append(
                [
                    (stride - w * scale) / 2,
                    (stride - h * scale) / 2,
                    (stride + w * scale) / 2,
                    (stride + h * scale) / 2,
                ]
            )
    return np.array(table)


def candidates(scores, deltas, stride, table, post):
    """One level by loops: (score, flat index, box, class), ODTK's order."""
    anchors, classes = len(table), scores.shape[0] // len(table)
    _, rows, columns = scores.shape
    flat = scores.reshape(-1)
    picked = [i for i in range(flat.size) if flat[i] > np.float32(post.threshold)]
    if len(picked) > post.top_n:
        picked = sorted(picked, key=lambda i: (-flat[i], i))[: post.top_n]
    found = []
    for i in picked:
        x, y = i % columns, i // columns % rows
        label, anchor = i // (columns * rows) % classes, i // (columns * rows * classes) % anchors
        x1, y1, x2, y2 = table[anchor] + np.array([x, y, x, y]) * stride
        w, h = x2 - x1 + 1, y2 - y1 + 1
        dx, dy, dw, dh = deltas[anchor * 4 : anchor * 4 + 4, y, x].astype(np.float64)
        cx, cy = dx * w + x1 + w / 2, dy * h + y1 + h / 2
        pw, ph = np.exp(dw) * w, np.exp(dh) * h
        box = [
            max(0.0, cx - pw / 2),
            max(0.0, cy - ph / 2),
            min(cx + pw / 2 - 1, columns * stride - 1),
            min(cy + ph / 2 - 1, rows * stride - 1),
        ]
        found.append((flat[i], box, label))
    return found


def suppressed(found, post):
    """Greedy, class by class, IoU with inclusive corners."""
    kept = []
    for score, box, label in sorted(found, key=lambda c: -c[0]):
        for _, other, other_label in kept:
            w = max(0, min(box[2], other[2]) - max(box[0], other[0]) + 1)
            h = max(0, min(box[3], other[3]) - max(box[1], other[1]) + 1)
            one, two = ((b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other))
            if label == other_label and w * h / (one + two - w * h) > post.nms:
                break
        else:
            kept.append((score, box, label))
            if len(kept) == post.detections:
                break
    return kept


@pytest.mark.parametrize("post", [Postprocessing(), Postprocessing(0.2, 20, 0.3, 15)])
def test_detections_are_those_of_the_reference_loops(checkpoint, pictures, post):
    loaded = load_checkpoint(checkpoint)
    engine = PyTorchEngine(loaded, post, launch_batch=1, threads=1)
    model = loaded.build()
    for picture in pictures:
        (found,) = engine.detect([picture], SHAPE)
        with torch.inference_mode():
            logits, deltas = model(normalised(picture))
        everything = []
        for level, stride in enumerate((8, 16, 32, 64, 128)):
            table = anchor_table(stride, loaded.ratios, loaded.scales)
            scores = logits[level][0].sigmoid().numpy()
            everything += candidates(scores, deltas[level][0].numpy(), stride, table, post)
        expected = suppressed(everything, post)
        assert len(found) == len(expected) > 5
        np.testing.assert_allclose(found.scores, [s for s, _, _ in expected], atol=2e-6)
        # Nearly equal scores may change places when a convolution sums in another order.
        order = np.lexsort((found.boxes[:, 0], found.classes))
        other = sorted(range(len(expected)), key=lambda i: (expected[i][2], expected[i][1][0]))
        assert found.classes[order].tolist() == [expected[i][2] for i in other]
        boxes = np.array([expected[i][1] for i in other])
        np.testing.assert_allclose(found.boxes[order], boxes, rtol=2e-4, atol=1e-2)


def test_a_short_batch_gives_the_rows_of_its_pictures_only(checkpoint, pictures):
    engine = PyTorchEngine(load_checkpoint(checkpoint), Postprocessing(), launch_batch=4, threads=1)
    assert engine.detect([], SHAPE) == []
    short = engine.detect(pictures[:2], SHAPE)
    full = engine.detect([*pictures, pictures[0]], SHAPE)
    assert len(short) == 2
    for one, two in zip(short, full, strict=False):
        assert one.boxes.tobytes() == two.boxes.tobytes()


def test_its_key_says_what_computes(checkpoint):
    engine = PyTorchEngine(load_checkpoint(checkpoint), Postprocessing(), launch_batch=1)
    capability = torch.backends.cpu.get_cpu_capability().lower()
    assert engine.key == f"pytorch-cpu-{capability}-fp32"
