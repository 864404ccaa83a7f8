"""Where tests put what is large and short-lived."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

ROOMY_BYTES = 6 << 30


def roomy_place() -> str:
    """Memory where there is plenty (a container has 64 MB there), else the disk. Sockets need a short path."""
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > ROOMY_BYTES:
        return str(shared)
    return "/tmp"


def fresh_place(prefix: str) -> Path:
    """A new directory of one's own there."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=roomy_place()))
