"""The sizes that a network input may have, and those of the pyramid's levels."""

from __future__ import annotations

from odtk_ray.errors import UsageError

STRIDES = (8, 16, 32, 64, 128)  # pixels of the network input to one cell of P3, P4, P5, P6, P7
SIDE_STEP = 32  # the pyramid is upsampled twice from stride 32: other sides do not line up


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Return rows and columns of P3 to P7 for a network input; its sides are multiples of 32.

    P3 to P5 have sides / 8, / 16, / 32; P6 and P7 halve that, rounded up, since their convolutions
    have stride 2 and padding 1.
    """
    sizes = [(height // step, width // step) for step in (8, 16, 32)]
    for _ in range(2):
        rows, columns = sizes[-1]
        sizes.append((-(-rows // 2), -(-columns // 2)))
    return sizes


def check_size(flag: str, height: int, width: int) -> None:
    """Check that the pyramid supports the sides of a network input.

    Raises:
        UsageError: a side is no multiple of 32; the two nearest sizes are named.
    """
    if height % SIDE_STEP == 0 and width % SIDE_STEP == 0 and height > 0 and width > 0:
        return
    down = [max(side // SIDE_STEP, 1) * SIDE_STEP for side in (height, width)]
    up = [max(-(-side // SIDE_STEP), 1) * SIDE_STEP for side in (height, width)]
    names = dict.fromkeys(f"{flag} {h} {w}" for h, w in (down, up))
    raise UsageError(
        f"{flag} {height} {width} is not a size for this network",
        f"both sides must be multiples of {SIDE_STEP} pixels",
        f"the nearest: {' or '.join(names)}",
    )
