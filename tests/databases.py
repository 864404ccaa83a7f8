"""Databases of a test's own on the server of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import sql

from memory.server.embedded import EmbeddedServer


@contextmanager
def cloned(server: EmbeddedServer, template: str) -> Iterator[str]:
    """The name of a copy of a database nobody is connected to; gone afterwards."""
    name = f"t_{uuid4().hex[:12]}"
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
    yield name
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
