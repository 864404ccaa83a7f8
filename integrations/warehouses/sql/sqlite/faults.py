"""SQLite's codes in the project's tree. A text is shown only where it names, and quotes no value."""

from __future__ import annotations

import re

from config.errors import ConflictError, PermanentError, SetupError, SourceError, SwarmError, TransientError, UsageError
from integrations.warehouses.sql.faults import Fault

_NAMING = re.compile(
    r"(?:no such (?:table|view|column|function|index|module|collation sequence)|ambiguous column name): "
)
_MEANINGS: dict[str, tuple[type[SwarmError], str, str]] = {
    "SQLITE_BUSY": (TransientError, "the file is locked", "somebody writes it; it will be tried again"),
    "SQLITE_LOCKED": (TransientError, "the file is locked", "somebody writes it; it will be tried again"),
    "SQLITE_INTERRUPT": (
        TransientError,
        "a statement took too long and was interrupted",
        "raise statement_timeout_seconds of this source, or look at less",
    ),
    "SQLITE_IOERR": (TransientError, "the file could not be read or written", "is the disk well?"),
    "SQLITE_FULL": (TransientError, "the disk is full", ""),
    "SQLITE_CANTOPEN": (
        SetupError,
        "the file cannot be opened",
        "may this user read it, and write beside it in WAL mode?",
    ),
    "SQLITE_PERM": (SetupError, "the file may not be read", ""),
    "SQLITE_READONLY": (SetupError, "the file is opened read-only", "changes go through the actor"),
    "SQLITE_AUTH": (UsageError, "this is no query, and looking changes nothing", "changes go through the actor"),
    "SQLITE_NOTADB": (SourceError, "the file is no SQLite database, or an encrypted one", "check the path in the URL"),
    "SQLITE_CORRUPT": (SourceError, "the file is damaged", "restore it from a back-up"),
    "SQLITE_CONSTRAINT_UNIQUE": (ConflictError, "a row with that key is there already", ""),
    "SQLITE_CONSTRAINT_PRIMARYKEY": (ConflictError, "a row with that key is there already", ""),
    "SQLITE_CONSTRAINT": (PermanentError, "a constraint refused it", ""),
}


def fault_of(error: BaseException) -> Fault | None:
    """What an error means by its code, the extended one first; None where it has none."""
    name = getattr(error, "sqlite_errorname", None)
    if not isinstance(name, str):
        return None
    for known in (name, "_".join(name.split("_")[:2])):
        if known in _MEANINGS:
            meant, text, hint = _MEANINGS[known]
            return Fault(meant, f"{text} ({name})", hint)
    told = str(error)
    return Fault(PermanentError, f"{told if _NAMING.match(told) else type(error).__name__} ({name})")
