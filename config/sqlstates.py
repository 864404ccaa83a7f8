"""What a condition of PostgreSQL means to the project, once for every room that speaks to a server.

The rooms differ in their words (what may be quoted, what to do next) and where this page says so; what is tried
again, what is set up wrongly and what is a race is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError

MEANINGS: Final[Mapping[str, type[SwarmError]]] = MappingProxyType(
    {
        "08": TransientError,  # the connection broke
        "40": TransientError,  # deadlock, serialization failure
        "53": TransientError,  # no memory, disk or connection left
        "55": TransientError,  # locked, or in use
        "57": TransientError,  # cancelled, timed out, shutting down, starting up
        "58": TransientError,  # the server's own input and output
        "25P03": TransientError,  # idle in a transaction for too long
        "25P04": TransientError,  # a transaction for too long
        "28": SetupError,  # the login is refused
        "3D": SetupError,  # no such database
        "42501": SetupError,  # the role has not the right
        "25006": SetupError,  # a write where only reading is possible: a standby, or the reader's role
        "23505": ConflictError,  # somebody else's row with that key was first
    }
)
"""By class (two characters) or by code (five), which goes before its class; anything else is permanent."""

MISSING: Final = frozenset({"42P01", "42883", "42703", "3F000"})
"""A relation, function, column or schema is not there: somebody else's server has changed for good, our own is not set
up for this release."""


def meaning(sqlstate: str) -> type[SwarmError]:
    """The error of the tree for a SQLSTATE of five characters."""
    return MEANINGS.get(sqlstate) or MEANINGS.get(sqlstate[:2], PermanentError)
