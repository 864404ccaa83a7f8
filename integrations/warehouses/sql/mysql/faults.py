"""MySQL's and MariaDB's error codes in the project's tree. A text is shown only where it names, and quotes no value."""

from __future__ import annotations

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError
from integrations.warehouses.sql.faults import LOGIN, WELL, Fault

_RIGHTS = "grant the role what it lacks"
_TIMED = "raise statement_timeout_seconds of this source, or look at less"
_LOCKED = "somebody holds a lock on it; it will be tried again"

_MEANINGS: dict[int, tuple[type[SwarmError], str]] = {
    1040: (TransientError, "the server has no connection left; lower `connections` of this source"),
    1044: (SetupError, LOGIN), 1045: (SetupError, LOGIN), 1049: (SetupError, "check the database name in the URL"),
    1698: (SetupError, LOGIN), 1251: (SetupError, LOGIN), 2059: (SetupError, LOGIN), 2061: (SetupError, LOGIN),
    2026: (SetupError, "check the certificates named in the URL"), 4151: (SetupError, LOGIN), 3118: (SetupError, LOGIN),
    1142: (SetupError, _RIGHTS), 1143: (SetupError, _RIGHTS), 1227: (SetupError, _RIGHTS), 1370: (SetupError, _RIGHTS),
    1345: (SetupError, _RIGHTS), 1410: (SetupError, _RIGHTS),
    1290: (SetupError, "the server is read-only"), 1836: (SetupError, "the server is read-only"),
    1792: (SetupError, "reading is done read-only; changes go through the actor"),
    1205: (TransientError, _LOCKED), 1213: (TransientError, _LOCKED), 3572: (TransientError, _LOCKED),
    1969: (TransientError, _TIMED), 3024: (TransientError, _TIMED), 1317: (TransientError, ""),
    1053: (TransientError, WELL), 1129: (SetupError, "the server has blocked this host"),
    1130: (SetupError, "the server lets nobody in from this host"),
    1203: (TransientError, ""), 1226: (TransientError, ""), 1927: (TransientError, WELL), 1950: (TransientError, WELL),
    2002: (TransientError, WELL), 2003: (TransientError, WELL), 2006: (TransientError, WELL),
    2013: (TransientError, WELL),
    2055: (TransientError, WELL), 4031: (TransientError, WELL),
    1062: (ConflictError, "a row with that key is there already"), 1586: (ConflictError, ""),
    1051: (PermanentError, ""), 1054: (PermanentError, ""), 1146: (PermanentError, "was it renamed or dropped?"),
    1109: (PermanentError, ""), 1305: (PermanentError, ""), 1356: (PermanentError, "the view is broken"),
}  # fmt: skip
_SILENT = frozenset({1062, 1586, 1305})


def fault_of(error: BaseException) -> Fault | None:
    """What a driver's error means by its code; None where it has none."""
    code = error.args[0] if error.args else None
    if not isinstance(code, int) or code <= 0:
        return None
    meant, hint = _MEANINGS.get(code, (PermanentError, ""))
    speaks = code in _MEANINGS and code not in _SILENT and len(error.args) > 1
    text = str(error.args[1]) if speaks else type(error).__name__
    return Fault(meant, f"{text} (error {code})", hint)
