"""What an engine complains of, in the project's tree of errors.

A message of a server may quote a value or the statement that held it, so a text is passed on only where the code says
that it speaks of names, roles or connections; elsewhere the condition's name stands in for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from config.errors import ConflictError, PermanentError, SetupError, SourceError, SwarmError, TransientError
from config.masking import scrub
from config.sqlstates import meaning

_REFUSED = re.compile(
    r"authenticat|password|access denied|permission|not permitted|no pg_hba|login|credential|unauthorized|certificate"
    r"|(?:role|user|database|catalog|warehouse)\b.*\bdoes not exist|unknown database",
    re.IGNORECASE,
)
_SPEAKING_STATES = ("08", "25", "28", "3D", "3F", "42", "53", "55", "57")
_LONGEST = 300
WELL = "is the server up, and are host and port in the URL right?"
LOGIN = "check user, password and database in the URL"


@dataclass(frozen=True, slots=True)
class Fault:
    """What an engine's own code means: the error of the tree, the text that may be shown, what to do."""

    error: type[SwarmError]
    text: str
    hint: str = ""


Reader = Callable[[BaseException], Fault | None]


def translate(
    error: BaseException, source: str, *, secrets: Sequence[str], reader: Reader, connecting: bool = False
) -> SwarmError:
    """One error of SQLAlchemy or of a driver as one of ours, naming the source, without a secret or a sampled value."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    fault = reader(original) or _of_state(original) or _of_class(original, connecting=connecting)
    text = " ".join(scrub(fault.text, secrets).split())[:_LONGEST]
    return fault.error(f"warehouse {source}: {text}", hint=fault.hint)


def passes(error: DBAPIError) -> bool:
    """Is it something that may well be gone the next time?"""
    original = error.orig if error.orig is not None else error
    return issubclass((_of_state(original) or _of_class(original, connecting=False)).error, TransientError)


def _of_state(error: BaseException) -> Fault | None:
    """By SQLSTATE, where the driver gives one."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if not (isinstance(state, str) and re.fullmatch(r"[0-9A-Z]{5}", state)):
        return None
    diagnosis = getattr(error, "diag", None)
    said = getattr(diagnosis, "message_primary", None) if state.startswith(_SPEAKING_STATES) else None
    hint = "raise statement_timeout_seconds of this source, or look at less" if state == "57014" else ""
    return Fault(meaning(state), f"{said or type(error).__name__} (SQLSTATE {state})", hint)


def _of_class(error: BaseException, *, connecting: bool) -> Fault:
    """By the class that every driver has; while connecting there are no values yet, so the text may be shown."""
    names = {c.__name__ for c in type(error).__mro__}
    if connecting:
        refused = _REFUSED.search(str(error))
        return Fault(SetupError if refused else TransientError, str(error), LOGIN if refused else WELL)
    name = type(error).__name__
    if isinstance(error, SQLAlchemyError):
        return Fault(SourceError, f"what the engine told of itself cannot be read ({name})")
    if "IntegrityError" in names:
        return Fault(ConflictError, f"a constraint refused it ({name})")
    if names & {"OperationalError", "InterfaceError", "InternalError", "OSError"}:
        return Fault(TransientError, f"the engine gave up ({name})", WELL)
    return Fault(PermanentError, f"the engine refused a statement ({name})")
