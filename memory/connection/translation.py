"""What the swarm's own database complains of, in the project's tree of errors (`config/sqlstates.py` has the table).

Messages name the statement, the constraint and the condition, never a value: DETAIL lines and the messages of class
22 (bad data) quote what was in the row, which may be confidential.
"""

from __future__ import annotations

import psycopg

from config.errors import ConflictError, PermanentError, PolicyError, SetupError, SwarmError, TransientError
from config.sqlstates import MISSING, meaning


def translate(error: psycopg.Error, *, statement: str = "") -> SwarmError:
    """The error of the tree for an error of the driver.

    Args:
        error: as raised by psycopg.
        statement: the name of the statement, for the message.
    """
    state = error.sqlstate or ""
    where = f" in {statement}" if statement else ""
    what = f"{type(error).__name__}{f' ({state})' if state else ''}{where}"
    if not state:
        return _without_state(error, what)
    kind = meaning(state)
    if kind is TransientError:
        return TransientError(f"the database could not do it now: {what}")
    if state == "42501":
        return _forbidden(error, what)
    if kind is SetupError or state in MISSING:
        return _not_set_up(error, state, what)
    constraint = error.diag.constraint_name
    if kind is ConflictError:
        return ConflictError(f"somebody else was first: {constraint or what}{where if constraint else ''}")
    return PermanentError(f"the database refused it: {what}{f', constraint {constraint}' if constraint else ''}")


def _not_set_up(error: psycopg.Error, state: str, what: str) -> SwarmError:
    said = error.diag.message_primary or what
    if state in MISSING:
        return SetupError(
            f"the database has not what this release needs: {what}",
            hint="`dataswarm migrate --plan` shows what is pending",
        )
    if state == "3D000":
        return SetupError(f"the database does not exist: {said}", hint="create it, then run `dataswarm migrate`")
    if state == "25006":
        return SetupError(
            f"the database can only be read: {what}", hint="the address names a standby; it has to be the primary's"
        )
    return SetupError(f"the database refuses the login: {said}", hint="check user and password of the address")


def _without_state(error: psycopg.Error, what: str) -> SwarmError:
    text = str(error)
    if isinstance(error, psycopg.OperationalError):
        # While connecting, libpq reports the server's refusal as text alone.
        if "does not exist" in text or "authentication failed" in text or "no password supplied" in text:
            last = text.strip().splitlines()[-1]
            return SetupError(f"the database refuses: {last}", hint="check the address, user and password")
        return TransientError(f"the connection to the database failed: {what}")
    if isinstance(error, psycopg.InterfaceError):
        return TransientError(f"the connection to the database is gone: {what}")
    return PermanentError(f"the database driver refused it: {what}")


def _forbidden(error: psycopg.Error, what: str) -> SwarmError:
    if "row-level security" in (error.diag.message_primary or ""):
        return PolicyError(f"above the clearance of this transaction: {what}")
    return SetupError(
        f"the database role has not the right: {error.diag.message_primary or what}",
        hint="run `dataswarm migrate` as the owner; work runs as dataswarm_worker",
    )
