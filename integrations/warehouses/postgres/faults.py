"""What a warehouse complains of, in the project's tree of errors (`config/sqlstates.py` has the table).

A message of the server may quote a value (`invalid input syntax for type integer: "…"`, `Key (email)=(…)`), so its
text is passed on only for the classes that speak of names, roles and connections; elsewhere the condition's name
stands in for it.
"""

from __future__ import annotations

import re

import psycopg

from config.errors import PermanentError, SetupError, SwarmError, TransientError
from config.sqlstates import meaning

# Classes and codes whose primary message names objects, roles or settings, never a value from a row.
_SPEAKING = ("08", "25", "28", "3D", "3F", "42", "53", "55", "57")
_REFUSED = re.compile(
    r"authentication failed|no pg_hba\.conf entry|role \".*\" (does not exist|is not permitted)"
    r"|database \".*\" does not exist|permission denied|no password supplied|SSL|certificate",
    re.IGNORECASE,
)
_HINTS = {
    "42501": "grant the role what it lacks; `dataswarm init --print-grants` lists it",
    "57014": "raise statement_timeout_seconds of this source, or look at less",
    "55P03": "somebody holds a lock on it; it will be tried again",
    "25006": "reading is done read-only; changes go through the actor",
    "3D000": "check the database name in the URL",
    "28P01": "check user and password in the URL",
    "28000": "check the user in the URL and pg_hba.conf on the server",
    "23505": "a row with that key is there already",
    "53300": "the server has no connection left; lower `connections` of this source or raise max_connections",
}


def translate(error: psycopg.Error, source: str, *, secret: str = "") -> SwarmError:
    """One psycopg error as one of ours, naming the source, without the password or a sampled value."""
    code = error.sqlstate
    if code is None:
        return _without_code(error, source, secret)
    condition = type(error).__name__
    text = error.diag.message_primary if code[:2] in _SPEAKING else None
    message = f"warehouse {source}: {scrub(text, secret) if text else condition} (SQLSTATE {code})"
    return meaning(code)(message, hint=_HINTS.get(code, ""))


def _without_code(error: psycopg.Error, source: str, secret: str) -> SwarmError:
    """A connection that failed or broke: psycopg gives libpq's text and no SQLSTATE."""
    text = scrub(" ".join(str(error).split()), secret)
    message = f"warehouse {source}: {text}"
    if not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        # A mistake in how a statement was put (placeholders, types): the text may quote a parameter.
        return PermanentError(f"warehouse {source}: {type(error).__name__} while sending a statement")
    if _REFUSED.search(text):
        return SetupError(message, hint="check user, password and database in the URL, and pg_hba.conf")
    return TransientError(message, hint="is the server up, and are host and port in the URL right?")


def scrub(text: str, secret: str) -> str:
    """`text` without a secret and without credentials in URLs."""
    if secret:
        text = text.replace(secret, "***")
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)
