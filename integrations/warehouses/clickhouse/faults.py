"""What ClickHouse complains of, in the project's tree of errors.

Its messages may quote values and always may quote the statement, so the text is passed on only for the codes that speak
of names and rights, up to where the statement begins; elsewhere the code's name stands in for it.
"""

from __future__ import annotations

import re
from typing import Final

from config.errors import PermanentError, SetupError, SwarmError, TransientError

_CODE: Final = re.compile(r"Code: (\d+)")
_NAME: Final = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
_TEXT: Final = re.compile(
    r"DB::Exception: (?!Code:)(.*?)(?:\. |: While|: In scope|\(version|\([A-Z0-9_]+\)|$)", re.DOTALL
)
_SPEAKING: Final = frozenset({36, 47, 60, 81, 164, 194, 291, 497, 516})
_TRANSIENT: Final = frozenset({76, 159, 160, 202, 209, 210, 241, 242, 243, 252, 319, 373, 394, 425, 439, 999})
_SETUP: Final = frozenset({164, 192, 193, 194, 291, 497, 516})
_HINTS: Final = {
    76: "another process has the directory open; it will be tried again",
    159: "raise statement_timeout_seconds of this source, or look at less",
    160: "raise statement_timeout_seconds of this source, or look at less",
    164: "reading is done read-only; changes go through the actor",
    194: "check user and password in the URL",
    497: "grant the user what it lacks",
    516: "check user and password in the URL",
}


def translate(text: str, source: str) -> SwarmError:
    """What a server said, as one of ours, naming the source, without a value."""
    found = _CODE.search(text)
    if found is None:
        return PermanentError(f"warehouse {source}: ClickHouse failed without a code")
    code = int(found[1])
    names = _NAME.findall(text)
    said = _TEXT.search(text)
    message = names[-1] if names else "error"
    if code in _SPEAKING and said and said[1].strip():
        message = f"{message}: {' '.join(said[1].split())}"
    kind: type[SwarmError] = PermanentError
    if code in _TRANSIENT:
        kind = TransientError
    elif code in _SETUP:
        kind = SetupError
    return kind(f"warehouse {source}: {message} (code {code})", hint=_HINTS.get(code, ""))
