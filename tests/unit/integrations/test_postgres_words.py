"""What PostgreSQL says, and which schemas are looked at, without a server."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from pydantic import SecretStr

from config.errors import SwarmError, TransientError
from integrations.warehouses.postgres import PostgresOptions
from integrations.warehouses.postgres.faults import scrub, translate


def test_schemas_are_chosen_by_pattern() -> None:
    """Patterns include, patterns exclude, and the swarm's own schemas are looked at only when named."""
    options = PostgresOptions(url=SecretStr(""), schemas=("raw*", "marts"), exclude_schemas=("raw_old",))
    assert [s for s in ("raw", "raw_new", "raw_old", "marts", "other") if options.looks_at(s)] == [
        "raw",
        "raw_new",
        "marts",
    ]
    everything = PostgresOptions(url=SecretStr(""))
    assert not any(everything.looks_at(s) for s in ("dataswarm", "dataswarm_scratch", "dataswarm_scratch_marts"))
    assert everything.looks_at("dataswarm_like")
    assert PostgresOptions(url=SecretStr(""), schemas=("*", "dataswarm")).looks_at("dataswarm")


def test_a_broken_connection_passes() -> None:
    """An error without SQLSTATE is a connection that broke: try again, without the password in the text."""
    told = translate(psycopg.OperationalError("connection to postgresql://u:hunter2@h failed: refused"), "shop")
    assert isinstance(told, TransientError)
    assert "hunter2" not in str(told)
    assert scrub("the word hunter2", "hunter2") == "the word ***"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.LockNotAvailable, "transient"),
        (errors.QueryCanceled, "transient"),
        (errors.DeadlockDetected, "transient"),
        (errors.AdminShutdown, "transient"),
        (errors.TooManyConnections, "transient"),
        (errors.InsufficientPrivilege, "setup"),
        (errors.InvalidPassword, "setup"),
        (errors.ReadOnlySqlTransaction, "setup"),
        (errors.UniqueViolation, "conflict"),
        (errors.UndefinedTable, "permanent"),
        (errors.InvalidTextRepresentation, "permanent"),
    ],
)
def test_every_class_of_error_has_its_place(error: type[psycopg.Error], code: str) -> None:
    """SQLSTATE decides what is tried again, what is set up wrongly, what is for a human."""
    told: SwarmError = translate(error("a value: hunter2"), "shop")
    assert told.code == code
    assert "hunter2" not in str(told)
    assert "warehouse shop" in told.message
