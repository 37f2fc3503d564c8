"""Makes the pictures and annotation files that `hash_outputs.py` runs on, seeded, without network.

Only NumPy and Pillow are used, never the tree under test: its changes must not change its inputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Boxes = list[tuple[int, int, int, int]]  # x, y, width, height in pixels

_SIZES = ((400, 300), (300, 400), (320, 320))
_TURNED = 6  # EXIF and TIFF: to be turned by 90 degrees clockwise
_ORIENTATION, _ROWS_PER_STRIP = 274, 278  # tags


def texture(seed: int, width: int, height: int) -> Image.Image:
    """Coloured noise of several octaves, RGB: compresses like a photograph."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 7):
        shape = (max(2, height >> octave), max(2, width >> octave), 3)
        layer = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        layer = layer.resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer, np.float32) * np.float32(2**octave)
    total -= total.min()
    return Image.fromarray((total * (255 / total.max())).astype(np.uint8))


def draw_trees(seed: int, width: int, height: int, count: int) -> tuple[Image.Image, Boxes]:
    """A meadow from above with crowns of trees that trees.pth finds in part, RGB."""
    rng = np.random.default_rng(seed)
    plain = Image.new("RGB", (width, height), (150, 140, 105))
    meadow = Image.blend(texture(seed, width, height), plain, 0.75)
    boxes = []
    for _ in range(count):
        radius = int(rng.integers(10, 26))
        x = int(rng.integers(radius, width - radius))
        y = int(rng.integers(radius, height - radius))
        _draw_crown(meadow, rng, x, y, radius)
        boxes.append((x - radius, y - radius, 2 * radius, 2 * radius))
    return meadow, boxes


def _draw_crown(meadow: Image.Image, rng: np.random.Generator, x: int, y: int, radius: int) -> None:
    """Paints one crown, and its shadow to the lower right of it."""
    side = 2 * radius + 8
    crown = Image.new("L", (side, side))
    draw = ImageDraw.Draw(crown)
    for angle in rng.uniform(0, 2 * np.pi, 14):  # lobes, so that the outline is no circle
        cx, cy = (side / 2 + 0.4 * radius * f(angle) for f in (np.cos, np.sin))
        reach = 0.6 * radius
        draw.ellipse((cx - reach, cy - reach, cx + reach, cy + reach), fill=255)
    green = np.array([60, 95, 45]) + rng.integers(-15, 15, 3)
    leaves = np.asarray(texture(int(rng.integers(1 << 30)), side, side).convert("L"), np.float32)
    surface = (leaves[..., None] / 128 * green).clip(0, 255).astype(np.uint8)
    left, top = x - side // 2, y - side // 2
    shadow = crown.filter(ImageFilter.GaussianBlur(2)).point(lambda value: int(value * 0.65))
    meadow.paste((25, 30, 25), (left + radius // 2, top + radius // 2), shadow)
    mask = crown.filter(ImageFilter.GaussianBlur(0.7))
    meadow.paste(Image.fromarray(surface), (left, top), mask)


def make_all(folder: Path) -> None:
    """All of the below, into a folder that is there."""
    for make in (_make_trees, _make_tiles, _make_many, _make_odd):
        make(folder)


def _make_trees(folder: Path) -> None:
    """`trees/` and `trees.json`: twelve pictures of three sizes, one of them turned by EXIF."""
    drawn = [draw_trees(seed, *_SIZES[seed % 3], 18) for seed in range(12)]
    files = []
    for number, (picture, boxes) in enumerate(drawn):
        name = f"t{number:02d}.{'png' if number % 5 == 4 else 'jpg'}"
        exif = Image.Exif()
        if number == 7:
            exif[_ORIENTATION] = _TURNED
        files.append((name, _save(picture, folder / "trees" / name, exif=exif), boxes))
    _write_truth(folder / "trees.json", files)


def _make_tiles(folder: Path) -> None:
    """`tiles/` and `tiles.json`: a PNG, and large TIFFs in strips, compressed and not."""
    files = []
    for number, (name, size, compression) in enumerate(
        (("a.tif", (1100, 800), "tiff_lzw"), ("b.tif", (900, 700), None), ("c.png", (500, 400), 0))
    ):
        picture, boxes = draw_trees(100 + number, *size, size[0] * size[1] // 7000)
        more = (
            {} if number == 2 else {"compression": compression, "tiffinfo": {_ROWS_PER_STRIP: 64}}
        )
        files.append((name, _save(picture, folder / "tiles" / name, **more), boxes))
    _write_truth(folder / "tiles.json", files)


def _make_many(folder: Path) -> None:
    """`many/`: 320 small pictures of two shapes, enough for ten shards or more."""
    meadow, _ = draw_trees(200, 1600, 1280, 500)
    for number in range(320):
        x, y = number % 20 * 80, number // 20 * 80
        across, down = (80, 60) if number % 3 else (60, 80)
        part = meadow.crop((x, y, x + across, y + down))
        _save(part, folder / "many" / f"{number:03d}.png", compress_level=1)


def _make_odd(folder: Path) -> None:
    """`odd/`: files that fail, files that are no pictures, and pictures of rare modes."""
    pictures = folder / "odd"
    picture, _ = draw_trees(300, 240, 180, 8)
    exif = Image.Exif()
    exif[_ORIENTATION] = _TURNED
    _save(picture, pictures / "turned.jpg", exif=exif)
    _save(picture, pictures / "plain.jpg")
    _save(picture.convert("L"), pictures / "gray.jpg")
    _save(picture.convert("CMYK"), pictures / "cmyk.jpg")
    _save(picture.convert("P", palette=Image.Palette.ADAPTIVE), pictures / "palette.png")
    _save(picture.convert("LA"), pictures / "gray-alpha.png")
    rgba = picture.copy()
    rgba.putalpha(texture(301, *picture.size).convert("L"))
    _save(rgba, pictures / "rgba.png")
    deep = np.asarray(picture.convert("L"), np.uint16) * np.uint16(257)
    _save(Image.fromarray(deep), pictures / "deep.png")
    _save(picture, pictures / "lossless.bmp")
    _save(picture.resize((240, 3)), pictures / "flat.png")
    whole = (pictures / "plain.jpg").read_bytes()
    (pictures / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (pictures / "words.jpg").write_text("no picture at all\n" * 20, encoding="utf-8")
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "notes.txt").write_text("beside the pictures\n", encoding="utf-8")
    (pictures / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")


def _save(picture: Image.Image, path: Path, **options: Any) -> tuple[int, int]:
    """Writes a picture, JPEGs in high quality; returns its (width, height)."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".jpg":
        options["quality"] = 92
    picture.save(path, **options)
    return picture.size


def _write_truth(path: Path, files: list[tuple[str, tuple[int, int], Boxes]]) -> None:
    """Writes a COCO file whose image ids fall, with a crowd now and then."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (width, height), boxes) in enumerate(files):
        image = {"id": 900 - 7 * number, "file_name": name, "width": width, "height": height}
        images.append(image)
        for x, y, w, h in boxes:
            entry = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": 4}
            entry |= {"bbox": [x, y, w, h], "area": w * h, "iscrowd": int(x % 17 == 0)}
            annotations.append(entry)
    content = {
        "images": images,
        "categories": [{"id": 4, "name": "tree"}],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
