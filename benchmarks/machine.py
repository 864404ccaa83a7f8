"""Where a benchmark ran: the machine as it says itself, and the server's settings that matter."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg

SETTINGS = (
    "server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers",
    "max_wal_size", "max_connections", "jit", "io_method",
)  # fmt: skip


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system and the load when asked (others at work make figures noisy)."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def versions(names: Sequence[str]) -> dict[str, str]:
    """Of installed distributions; those that are not installed are left out."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def server_settings(url: str) -> dict[str, str]:
    """The settings of a server that figures depend on; unknown ones (older servers) are left out."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [list(SETTINGS)]
        ).fetchall()
    known: dict[str, str] = dict(rows)
    return {name: known[name] for name in SETTINGS if name in known}


def on_disk(place: Path) -> bool:
    """Whether a place lies on a disk; False for memory dressed as a file system, where fsync costs nothing."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True  # not Linux: no tmpfs to fear
    best = ("", "")
    for line in mounts:
        _, where, kind, *_ = line.split(" ")
        inside = str(place) == where or str(place).startswith(where.rstrip("/") + "/")
        if inside and len(where) >= len(best[0]):
            best = (where, kind)
    return best[1] not in {"tmpfs", "ramfs"}
