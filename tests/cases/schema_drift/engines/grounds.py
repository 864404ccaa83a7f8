"""Real engines to change and to look at: what a case needs of each, and why one cannot be had here."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from integrations.base import Warehouse
from memory.server.embedded import EmbeddedServer
from tests import duck

KEY = SecretStr("of a test")


@dataclass(frozen=True)
class Ground:
    """An empty place in an engine: how to change it, how to look at it, and what its schema is called."""

    schema: str
    run: Callable[[Sequence[str]], None]
    warehouse: Warehouse


def postgres(request: pytest.FixtureRequest, _: Path) -> Iterator[Ground]:
    """A schema of the run's server; unqualified names mean it."""
    package = package_of("postgres")
    server: EmbeddedServer = request.getfixturevalue("server")
    url = server.url_for(database="postgres")
    schema = f"shop_{uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create schema {schema}")
        connection.execute(f"set search_path to {schema}")

        def run(statements: Sequence[str]) -> None:
            for statement in statements:
                connection.execute(statement)

        made = package.PostgresOptions(url=SecretStr(url), schemas=(schema,), sketch_key=KEY)
        try:
            yield Ground(schema, run, package.PostgresWarehouse("shop", made))
        finally:
            connection.execute(f"drop schema {schema} cascade")


def sqlite(_: pytest.FixtureRequest, place: Path) -> Iterator[Ground]:
    """A file."""
    package = package_of("sql")
    path = place / "shop.db"

    def run(statements: Sequence[str]) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    run(["select 1"])
    made = package.SqlOptions(url=SecretStr(f"sqlite:///{path}"), sketch_key=KEY)
    yield Ground("main", run, package.SqlWarehouse("shop", made))


def mariadb(request: pytest.FixtureRequest, _: Path) -> Iterator[Ground]:
    """A database of the run's server."""
    pytest.importorskip("pymysql", reason="the extra `mysql` is not installed")
    package = package_of("sql")
    server = request.getfixturevalue("mariadb")
    schema = f"shop_{uuid4().hex[:8]}"
    server.run(f"create database {schema}", database="mysql")

    def run(statements: Sequence[str]) -> None:
        with server.connect(schema) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    made = package.SqlOptions(url=SecretStr(server.url("mighty", database=schema)), schemas=(schema,), sketch_key=KEY)
    yield Ground(schema, run, package.SqlWarehouse("shop", made))
    server.run(f"drop database {schema}", database="mysql")


def duckdb(_: pytest.FixtureRequest, place: Path) -> Iterator[Ground]:
    """A file."""
    pytest.importorskip("duckdb", reason="the extra `duckdb` is not installed")
    package = package_of("duckdb")
    path = place / "shop.duckdb"

    def run(statements: Sequence[str]) -> None:
        duck.run(path, *statements)

    run([])
    yield Ground("main", run, package.DuckdbWarehouse("shop", package.DuckdbOptions(path=path, sketch_key=KEY)))


def clickhouse(request: pytest.FixtureRequest, _: Path) -> Iterator[Ground]:
    """A new database in the run's directory, changed by a process of its own."""
    path, warehouse = request.getfixturevalue("clickhouse_shop")
    owner = importlib.import_module("tests.clickhouse")
    begin = ["drop database if exists shop sync", "create database shop"]

    def run(statements: Sequence[str]) -> None:
        owner.run(path, *begin, "use shop", *statements)
        begin.clear()

    yield Ground("shop", run, warehouse)


GROUNDS: Mapping[str, Callable[[pytest.FixtureRequest, Path], Iterator[Ground]]] = {
    "postgres": postgres,
    "sqlite": sqlite,
    "mariadb": mariadb,
    "duckdb": duckdb,
    "clickhouse": clickhouse,
}


def literal(value: Any) -> str:
    """A value as every engine reads it."""
    if value is None:
        return "null"
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


def package_of(kind: str) -> Any:
    """An integration, or the reason why there is none."""
    try:
        return importlib.import_module(f"integrations.warehouses.{kind}")
    except ImportError as error:
        pytest.skip(f"the integration {kind!r} cannot be imported: {error}")
