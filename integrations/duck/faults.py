"""What DuckDB complains of, in the project's tree of errors.

Its messages may quote a value (`Could not convert string '…'`, `Duplicate key "…"`) and always quote the statement, so
only the first line is passed on, and only of the classes that speak of names, files and grammar.
"""

from __future__ import annotations

import re

from config.errors import ConflictError, PermanentError, SetupError, SourceError, SwarmError, TransientError

_SPEAKING = frozenset(
    {"BinderException", "CatalogException", "IOException", "ParserException", "PermissionException"}
    | {"SyntaxException", "DependencyException", "ConnectionException", "NotImplementedException"}
)
_RULES: tuple[tuple[str, str, type[SwarmError], str], ...] = (
    ("InterruptException", "", TransientError, "raise statement_timeout_seconds of this source, or look at less"),
    ("OutOfMemoryException", "", TransientError, "raise memory_limit of this source, or look at less"),
    ("IOException", r"set lock|lock is held", TransientError, "a writer has the file open; it will be tried again"),
    (
        "ConnectionException",
        "different configuration",
        TransientError,
        "this process has the file open already; it will be tried again",
    ),
    ("BinderException", "handle conflict", TransientError, "this process has the file open already"),
    ("TransactionException", "", TransientError, "somebody changed the same; it will be tried again"),
    ("ConstraintException", "uplicate key", ConflictError, "a row with that key is there already"),
    ("IOException", "newer version|version of DuckDB", SetupError, "install a newer duckdb"),
    ("IOException", "not a valid DuckDB database", SourceError, "name a DuckDB database file in `path`"),
    ("IOException", "does not exist|Permission denied|Is a directory", SetupError, "check `path` of this source"),
    ("PermissionException", "", SetupError, "files outside of this source are never read"),
    ("InvalidInputException", "read-only mode", SetupError, "reading is done read-only; changes go through the actor"),
    (
        "",
        r"No magic bytes|too small to be a Parquet",
        TransientError,
        "it is being written, or broken: write a file under another name and rename it when it is whole",
    ),
    ("IOException", "No files found", TransientError, "a file went away while it was looked at"),
)


def translate(error: Exception, source: str) -> SwarmError:
    """One error of DuckDB as one of ours, naming the source, without a value."""
    condition = type(error).__name__
    text = str(error).strip()
    kind, hint = PermanentError, ""
    for name, pattern, meant, advice in _RULES:
        if name in ("", condition) and re.search(pattern, text):
            kind, hint = meant, advice  # type: ignore[assignment]
            break
    first = text.partition("\n")[0] if condition in _SPEAKING else condition
    return kind(f"warehouse {source}: {first}", hint=hint)
