"""DDL loaded into a real engine that lives as long as the comparison: nobody knows a dialect better.

What a script holds may come from a stranger's pull request. Statements that move data, rights or files are passed over;
PostgreSQL runs the rest as a role without any right outside its own database, DuckDB without access to files.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg
from psycopg import sql

from config.errors import UsageError
from dataswarm.drifting.scripts import Script
from integrations.declared.draft import counted
from integrations.declared.statements import Statement, split
from integrations.lineage.naming import naming
from memory.server.embedded import EmbeddedServer

_ROLE: Final = "declared"
_RUN: Final = frozenset({"CREATE", "ALTER", "DROP", "COMMENT"})
# No structure, and mostly more rights than the scratch role has.
_NOT_RUN: Final = frozenset(
    {"ROLE", "USER", "GROUP", "DATABASE", "TABLESPACE", "SUBSCRIPTION", "PUBLICATION", "SERVER", "POLICY", "SYSTEM"}
    | {"DEFAULT", "EXTENSION", "EVENT", "LANGUAGE", "CAST", "OPERATOR", "SECRET", "MACRO", "FUNCTION", "PROCEDURE"}
    | {"TRIGGER", "AGGREGATE", "TEXT", "RULE", "STATISTICS", "LARGE", "CONVERSION", "TRANSFORM", "ACCESS"}
)
_TRUSTED_EXTENSIONS: Final = frozenset({"EXTENSION", "FUNCTION", "PROCEDURE"})
_BETWEEN: Final = frozenset({"OR", "REPLACE", "CONSTRAINT", "ON", "FOREIGN", "DATA", "WRAPPER", "USER", "MAPPING"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """A database with the scripts in it: how an integration of `kind` opens it, and what was passed over."""

    kind: str
    options: Mapping[str, Any]
    passed_over: str = ""


class Engines:
    """Scratch databases of one comparison; all are gone when it is left.

    Args:
        told: is told what takes long.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told
        self._directory: Path | None = None
        self._server: EmbeddedServer | None = None
        self._count = 0

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what was started, and remove it."""
        if self._server is not None:
            self._server.stop()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def load(self, scripts: Sequence[Script], dialect: str) -> Loaded | None:
        """Load scripts into a fresh database; None where there is no engine for the dialect here.

        Raises:
            UsageError: the engine refuses a statement; names the file, its number and the line.
            SetupError: the scratch server does not start.
        """
        load = {"postgres": self._postgres, "duckdb": self._duckdb, "sqlite": self._sqlite}.get(dialect)
        return load(scripts) if load is not None else None

    def _place(self) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="dsw"))  # short: sockets lie in it
        return self._directory

    def _fresh(self, suffix: str) -> Path:
        self._count += 1
        return self._place() / f"declared{self._count}{suffix}"

    def _postgres(self, scripts: Sequence[Script]) -> Loaded:
        if self._server is None:
            self._told("starting a PostgreSQL of its own for the DDL")
            self._server = _quick(EmbeddedServer.start(self._place() / "pg"))
        self._count += 1
        name = f"declared{self._count}"
        with psycopg.connect(self._server.url, autocommit=True) as owner:
            owner.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(_ROLE)))
        url = self._server.url_for(database=name, user=_ROLE)
        self._told(f"loading {scripts[0].name}")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET search_path = public")
            passed = _each(scripts, "postgres", lambda text: connection.execute(text.encode()), psycopg.Error)
        return Loaded("postgres", {"url": url}, passed)

    def _duckdb(self, scripts: Sequence[Script]) -> Loaded | None:
        try:
            import duckdb  # noqa: PLC0415 - an extra
        except ImportError:
            return None
        file = self._fresh(".duckdb")
        with duckdb.connect(str(file)) as connection:
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            passed = _each(scripts, "duckdb", connection.execute, duckdb.Error)
        return Loaded("duckdb", {"path": str(file)}, passed)

    def _sqlite(self, scripts: Sequence[Script]) -> Loaded:
        file = self._fresh(".sqlite")
        connection = sqlite3.connect(file, isolation_level=None)
        try:
            passed = _each(scripts, "sqlite", connection.execute, sqlite3.Error)
        finally:
            connection.close()
        return Loaded("sql", {"url": f"sqlite:///{file}"}, passed)


def _quick(server: EmbeddedServer) -> EmbeddedServer:
    """A server that is thrown away need not wait for the disk; the role owns its databases and nothing else."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(_ROLE)))
        connection.execute(sql.SQL("ALTER ROLE {} SET statement_timeout = '30s'").format(sql.Identifier(_ROLE)))
    return server


def _each(scripts: Sequence[Script], dialect: str, run: Callable[[str], object], refusal: type[Exception]) -> str:
    """Run what declares structure, statement by statement; what was passed over, in words."""
    passed: Counter[str] = Counter()
    for script in scripts:
        try:
            statements = split(script.text, naming(dialect))
        except UsageError as error:
            raise UsageError(f"{script.name}, {error.message}", hint=error.hint) from None
        for said in statements:
            if not _is_run(said, dialect):
                passed[said.words[0].lower()] += 1
                continue
            try:
                run(said.text)
            except refusal as error:
                if set(said.words) & _TRUSTED_EXTENSIONS:  # what it brings is missed where it is used
                    passed[f"{said.words[0].lower()} {said.words[1].lower()}"] += 1
                    continue
                raise UsageError(
                    f"{script.name}, {said.where}: {_said(error)}", hint=f"{dialect} itself says so"
                ) from None
    return counted(passed)


def _is_run(said: Statement, dialect: str) -> bool:
    first = said.words[0]
    if first in ("SET", "USE"):
        return said.words[1:2] == ("SEARCH_PATH",) or (first == "USE" and dialect == "duckdb")
    if first == "DO":
        return dialect == "postgres"
    if first not in _RUN:
        return False
    if first == "ALTER" and "OWNER" in (t.text.upper() for t in said.tokens[3:]):
        return False
    about = next((w for w in said.words[1:] if w not in _BETWEEN), "")
    return about not in _NOT_RUN or about in _TRUSTED_EXTENSIONS


def _said(error: Exception) -> str:
    """The engine's sentence, without the statement it quotes behind it."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error).split("\n", 1)[0]).split())
