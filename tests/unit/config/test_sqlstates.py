"""One table of SQLSTATEs, and what each room that reads it says."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from config.errors import ConflictError, PermanentError, SetupError, SwarmError, TransientError
from config.sqlstates import MISSING, meaning
from integrations.warehouses.postgres import faults
from memory.connection import translation


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("08006", TransientError),
        ("40P01", TransientError),
        ("57P01", TransientError),
        ("25P03", TransientError),
        ("25001", PermanentError),  # its class is not in the table, two codes of it are
        ("28P01", SetupError),
        ("3D000", SetupError),
        ("42501", SetupError),
        ("42601", PermanentError),
        ("23505", ConflictError),
        ("23503", PermanentError),
        ("22P02", PermanentError),
    ],
)
def test_a_code_goes_before_its_class(sqlstate: str, expected: type[SwarmError]) -> None:
    """The whole code where it is known, else the class, else permanent."""
    assert meaning(sqlstate) is expected


def test_the_rooms_differ_only_in_what_is_missing() -> None:
    """A missing object is a matter of set-up in our own database and permanent elsewhere; neither tells a value."""
    found = [getattr(errors, name) for name in dir(errors)]
    kinds = [k for k in found if isinstance(k, type) and issubclass(k, psycopg.Error) and k.sqlstate]
    assert len(kinds) > 200
    for kind in kinds:
        error, sqlstate = kind("a value: hunter2"), str(kind.sqlstate)
        outside, own = faults.translate(error, "shop"), translation.translate(error, statement="some_statement")
        assert type(outside) is meaning(sqlstate), sqlstate
        assert type(own) is (SetupError if sqlstate in MISSING else meaning(sqlstate)), sqlstate
        assert "hunter2" not in f"{outside}{own}"
