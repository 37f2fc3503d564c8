"""The four kinds of elongated shapes of `scenes`: outline and shading, in a frame of their own.

In that frame u runs along the longer side and v across it, both from -1 to 1 within the box. Every
shape touches all four sides of its box, so no other box of these directions fits it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Silhouette:
    """A kind of shape.

    Attributes:
        name: of the class.
        reach: how far the shape reaches across at each u, from 0 to 1, the same on both sides.
        shade: brightness of the surface at each (u, v), about 1.
    """

    name: str
    reach: Callable[[Floats], Floats]
    shade: Callable[[Floats, Floats], Floats]

    def depth(self, u: Floats, v: Floats, width: float, height: float) -> Floats:
        """Compute how deep positions lie inside the outline, in pixels; negative outside.

        Measured along the axes of the frame, so that it overestimates where outlines are slanted.

        Args:
            u: float32 [...].
            v: float32 [...].
            width: of the box along u in pixels.
            height: of the box along v in pixels.
        """
        across = (self.reach(np.clip(u, -1, 1)) - np.abs(v)) * np.float32(height / 2)
        along = (1 - np.abs(u)) * np.float32(width / 2)
        depth: Floats = np.minimum(across, along)
        return depth


def _waist(u: Floats) -> Floats:
    """Return wide ends with a waist of 0.35 between them."""
    reach: Floats = np.clip(np.float32(3) * np.abs(u) - np.float32(1.15), 0.35, 1)
    return reach


SILHOUETTES = (
    # A log, brightest along its middle.
    Silhouette("bar", np.ones_like, lambda u, v: 1.25 - 0.6 * v * v),
    # Pointed at both ends, with a dark midrib.
    Silhouette("leaf", lambda u: 1 - u * u, lambda u, v: 1.1 - 0.5 * np.exp(-((v / 0.2) ** 2))),
    # From a broad dark end to a narrow bright one, where u is 1: the one with a head and a tail.
    Silhouette("wedge", lambda u: 0.6 - 0.4 * u, lambda u, v: 1 + 0.35 * u),
    # Two knobs, darker than what joins them.
    Silhouette("bone", _waist, lambda u, v: 1.25 - 0.45 * np.abs(u)),
)
NAMES = tuple(silhouette.name for silhouette in SILHOUETTES)
