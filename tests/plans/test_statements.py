"""Every named statement is one PostgreSQL understands, as the role that runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from memory.connection import statements
from memory.server.embedded import EmbeddedServer

_PARAMETER = re.compile(r"%\((\w+)\)s")


def numbered(body: str) -> str:
    """A statement with psycopg's parameters turned into PostgreSQL's."""
    names: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return f"${names.setdefault(match[1], len(names) + 1)}"

    return _PARAMETER.sub(number, body).replace("%%", "%")


PREPARABLE = sorted(name for name, body in statements.all().items() if not statements.is_session_command(body))


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer, template: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection to the template, as the worker in the clearance role."""
    url = server.url_for(database=template, user="dataswarm_worker")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET ROLE dataswarm_confidential")
        yield connection


@pytest.mark.parametrize("name", PREPARABLE)
def test_statement_can_be_prepared(connection: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """The statement parses, its tables, columns and types exist."""
    body = numbered(statements.all()[name])
    connection.execute(sql.SQL("PREPARE {} AS {}").format(sql.Identifier(f"test_{name}"), sql.SQL(body)))
    connection.execute(sql.SQL("DEALLOCATE {}").format(sql.Identifier(f"test_{name}")))


def test_every_statement_says_what_serves_it() -> None:
    """The loader refuses a statement without its index line; loading all is the proof."""
    assert len(statements.all()) == sum(len(statements.load(noun)) for noun in statements.nouns())
