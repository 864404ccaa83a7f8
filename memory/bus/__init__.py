"""The event bus: pointers published as rows, read by cursors that miss nothing, NOTIFY only a hint."""

from memory.bus.events import (
    HINT,
    Cursor,
    ForeignCursorError,
    Snapshot,
    between,
    now_cursor,
    oldest,
    publish,
    read,
    rebase,
    regex,
    since,
    snapshot,
    tail,
)
from memory.bus.listener import Listener, Wake

__all__ = [
    "HINT",
    "Cursor",
    "ForeignCursorError",
    "Listener",
    "Snapshot",
    "Wake",
    "between",
    "now_cursor",
    "oldest",
    "publish",
    "read",
    "rebase",
    "regex",
    "since",
    "snapshot",
    "tail",
]
