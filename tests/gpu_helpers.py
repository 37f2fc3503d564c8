"""Shared by the tests that need a GPU."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from synthetic import picture

from odtk_ray.settings import Postprocessing, Preprocessing

PREP = Preprocessing(resize=160, max_size=256)
POST = Postprocessing()


def jpeg(seed, width, height, mode="RGB", **options) -> bytes:
    """A seeded JPEG file."""
    buffer = io.BytesIO()
    picture(seed, width, height).convert(mode).save(buffer, "JPEG", **({"quality": 90} | options))
    return buffer.getvalue()


def decoded(data: bytes):
    """Pillow's pixels of a file, uint8 [h, w, 3]."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def detect(engine, files, prep=PREP):
    """Outcomes of files of one padded size, in one launch."""
    sources = [engine.read(data) for data in files]
    width, height = sources[0].size
    shape = tuple(-(-side // prep.stride) * prep.stride for side in (height, width))
    return engine.launch(sources, shape)()


def write_spread(path, checkpoint):
    """The tiny checkpoint with scores that are spread from 0.7 to 0.95 instead of 1.

    Partners can then be told from others by their scores, and the last place of a picture does not
    share its score with all the rest. Boxes are near their anchors, so that half precision moves
    them little.
    """
    from odtk_ray.model.checkpoint import load_checkpoint, save_checkpoint

    loaded = load_checkpoint(checkpoint)
    model = loaded.build()
    model.get_parameter("cls_head.8.weight").mul_(0.005)
    model.get_parameter("box_head.8.weight").mul_(0.003)
    save_checkpoint(path, model, ratios=loaded.ratios, scales=loaded.scales)


def agreement(ones, others, **tolerance):
    """How many detections of either list of pictures count, and the share that has a partner."""
    total = partners = 0
    for one, other in zip(ones, others, strict=True):
        for here, there in ((one, other), (other, one)):
            count, hits = matched(here, there, **tolerance)
            total, partners = total + count, partners + hits
    return total, partners / max(total, 1)


def raw(outcome) -> tuple[bytes, ...]:
    """The bytes of what was found."""
    found = outcome.found
    return found.scores.tobytes(), found.boxes.tobytes(), found.classes.tobytes()


def matched(found, others, *, least, iou, score=np.inf, margin=0.0):
    """Detections of `found` that count, and those with a partner of their class in `others`.

    Args:
        found: detections.
        others: where partners are looked for.
        least: lowest score that counts.
        iou: of partners, at least.
        score: largest difference of partners' scores.
        margin: detections within this of the threshold, or of the last place, do not count; nor do
            rotated ones without an area, which have no IoU with themselves.
    """
    import torch

    from odtk_ray.ops.boxes import pairwise_iou
    from odtk_ray.ops.rotated import rotated_iou

    edge = POST.threshold
    if len(found) == POST.detections:
        edge = max(edge, float(found.scores[-1]))
    counts = (found.scores >= least) & (found.scores > edge + margin)
    boxes, partners = torch.tensor(found.boxes), torch.tensor(others.boxes)
    if boxes.shape[1] == 6:
        overlaps = rotated_iou(boxes[:, None].double(), partners[None].double()).numpy()
        counts &= (found.boxes[:, 2:4] > found.boxes[:, :2]).all(axis=1)
    else:
        overlaps = pairwise_iou(boxes, partners).numpy()
    partner = (
        (overlaps >= iou)
        & (found.classes[:, None] == others.classes)
        & (np.abs(found.scores[:, None] - others.scores) <= score)
    )
    return int(counts.sum()), int((counts & partner.any(axis=1)).sum())
