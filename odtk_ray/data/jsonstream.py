"""One pass over a JSON file of any size whose top level is an object, in bounded memory.

COCO annotation files hold a few long arrays under top-level keys. `scan` parses the arrays that are
asked for in batches and skips the rest without parsing it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

# Deeper nesting is refused; json.loads itself ends at the recursion limit of 1000.
MAX_DEPTH = 500

# A container is looked at in growing pieces, so that a small one costs little.
_FIRST_PIECE = 4096

_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"' if False else rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
