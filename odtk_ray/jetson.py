"""Tells a Jetson, where some packages have another name or come with JetPack."""

from __future__ import annotations

import re
from pathlib import Path

# Jetson Linux has it on every device: `# R36 (release), REVISION: 4.3, ...`.
_RELEASE_FILE = Path("/etc/nv_tegra_release")


def jetson_release() -> int | None:
    """Return the major release of Jetson Linux, such as 36 of JetPack 6; None elsewhere."""
    try:
        text = _RELEASE_FILE.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.match(r"# R(\d+)", text)
    return int(found[1]) if found else None
