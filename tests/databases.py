"""Databases of a test's own on the server of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any
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


@contextmanager
def filled(
    server: EmbeddedServer, template: str, fill: Callable[[str, str], Coroutine[Any, Any, None]]
) -> Iterator[str]:
    """The name of a database that is dear to fill, to be copied; `fill` gets the worker's and the owner's address."""
    with cloned(server, template) as name:
        asyncio.run(fill(server.url_for(database=name, user="dataswarm_worker"), server.url_for(database=name)))
        yield name
