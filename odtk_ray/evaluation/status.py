"""What becomes of detections and of boxes to find, in TIDE's terms.

Source: Bolya, Foley, Hays and Hoffman 2020, TIDE: A General Toolbox for Identifying Object
Detection Errors.
"""

from __future__ import annotations

from enum import IntEnum

FOUND_IOU = 0.5  # from here on a detection has found a box of its class
NEAR_IOU = 0.1  # below it lies on the background


class Status(IntEnum):
    """What a detection is; the errors in TIDE's order of importance.

    A wrong detection has the first error that fits.
    """

    RIGHT = 0  # it has found a box
    CLASS = 1  # it lies on a box of another class: IoU 0.5 or more
    LOCATION = 2  # it lies beside a box of its class: IoU 0.1 to 0.5
    BOTH = 3  # it lies beside a box of another class
    DUPLICATE = 4  # its box is found by a better detection
    BACKGROUND = 5  # it lies on nothing
    IGNORED = 6  # neither right nor wrong: it lies in a crowd region
    NOT_COUNTED = 7  # beyond the best 100 of its image and class


class TruthStatus(IntEnum):
    """What a box to find is."""

    FOUND = 0  # by a detection of its class, whatever the score
    COVERED = 1  # would be found if the class or the place of a wrong detection were right
    MISSED = 2
    IGNORED = 3  # a crowd region
    NOT_EVALUATED = 4  # its image was left out


# Columns of what is counted by image and by size: a right detection, five errors, and a missed box.
ERRORS = ("class", "location", "both", "duplicate", "background", "missed")
MISSED = len(ERRORS)
KINDS = ("right", *ERRORS)
