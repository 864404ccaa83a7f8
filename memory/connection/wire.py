"""Named statements straight over libpq's pipeline: what goes to the server a thousand times a second.

The driver's cursors cost more than the server does for a small statement. Here several transactions travel in one
round trip, each ended by a sync of the protocol: the server commits at the sync, no BEGIN and no COMMIT is sent, and
rows come as tuples, in binary. Everything else goes through cursors.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from psycopg import abc
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

_PARAMETER = re.compile(r"%\((\w+)\)s")
_GONE = "26000"  # prepared statements were thrown away: by a pooler, or by the driver after a rollback
Row = tuple[Any, ...]
Line = psycopg.AsyncConnection[Any]
Asked = tuple[str, Mapping[str, Any]]  # a statement's text with psycopg's parameters, and their values
Answer = list[Row] | psycopg.Error
_numbers = count()
_prepared: WeakKeyDictionary[Line, dict[str, bytes]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Statement:
    text: bytes
    parameters: tuple[str, ...]


@lru_cache(512)
def _numbered(body: str) -> _Statement:
    names: dict[str, int] = {}
    text = _PARAMETER.sub(lambda match: f"${names.setdefault(match[1], len(names) + 1)}", body)
    return _Statement(text.replace("%%", "%").encode(), tuple(names))


async def exchange(line: Line, transactions: Sequence[Sequence[Asked]], *, prepare: bool) -> list[Answer]:
    """Send transactions of statements in one round trip.

    Args:
        line: a connection that is ours alone, with no transaction open.
        transactions: each a sequence of statements; it commits by itself, and the next one runs even if it fails.
        prepare: use prepared statements.

    Returns:
        For each transaction the rows of its last statement, or the error that rolled it back.

    Raises:
        psycopg.Error: the line broke, and nobody knows what counted. Cancelling closes the line for the same reason.
    """
    try:
        answers = await _exchange(line, transactions, prepare=prepare)
        first = answers[0]
        if isinstance(first, psycopg.Error) and first.sqlstate == _GONE:
            _prepared.pop(line, None)
            answers = await _exchange(line, transactions, prepare=prepare)
    except BaseException:
        await line.close()
        raise
    return answers


async def _exchange(line: Line, transactions: Sequence[Sequence[Asked]], *, prepare: bool) -> list[Answer]:
    connection = line.pgconn
    known = _prepared.setdefault(line, {}) if prepare else {}
    fresh: list[str] = []
    transformer = Transformer(line)
    connection.enter_pipeline_mode()
    for transaction in transactions:
        for body, values in transaction:
            statement = _numbered(body)
            given, formats = _given(transformer, [values[name] for name in statement.parameters])
            if not prepare:
                connection.send_query_params(statement.text, given, param_formats=formats, result_format=Format.BINARY)
                continue
            name = known.get(body)
            if name is None:
                name = known[body] = b"dataswarm_%d" % next(_numbers)
                fresh.append(body)
                connection.send_prepare(name, statement.text)
            connection.send_query_prepared(name, given, param_formats=formats, result_format=Format.BINARY)
        connection.pipeline_sync()
    answers = await _answers(connection, len(transactions), transformer)
    connection.exit_pipeline_mode()
    if fresh and any(isinstance(answer, psycopg.Error) for answer in answers):
        for body in fresh:  # what was to be prepared behind the error was not
            known.pop(body, None)
    return answers


def _given(transformer: abc.Transformer, values: list[Any]) -> tuple[list[bytes | None], list[int]]:
    """Values as PostgreSQL takes them. Every statement casts its parameters, so types are not sent."""
    given: list[bytes | None] = []
    formats = [0] * len(values)
    for position, value in enumerate(values):
        kind = type(value)
        if value is None:
            given.append(None)
        elif kind is str:
            given.append(value.encode())
        elif kind is bool:
            given.append(b"t" if value else b"f")
        elif kind is int or kind is float or kind is UUID:
            given.append(str(value).encode())
        elif kind is list and not value:
            given.append(b"{}")
        else:
            dumper = transformer.get_dumper(value, PyFormat.AUTO if kind is not list else PyFormat.TEXT)
            formats[position] = dumper.format
            dumped = dumper.dump(value)
            given.append(None if dumped is None else bytes(dumped))
    return given, formats


async def _answers(connection: PGconn, syncs: int, transformer: abc.Transformer) -> list[Answer]:
    """Send what is left and read until every sync is answered."""
    loop = asyncio.get_running_loop()
    socket = connection.socket
    found = _Answers(transformer)
    is_written = connection.flush() == 0
    while True:
        while not connection.is_busy():
            result = connection.get_result()
            if result is not None and found.take(result) == syncs:
                return found.answers
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(socket, _settle, ready)
        if not is_written:  # the server may wait for us to read before it reads on
            loop.add_writer(socket, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            loop.remove_writer(socket)
        connection.consume_input()
        is_written = is_written or connection.flush() == 0


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class _Answers:
    """What the server said so far, a transaction at a time."""

    def __init__(self, transformer: abc.Transformer) -> None:
        self.answers: list[Answer] = []
        self._transformer = transformer
        self._rows: list[Row] = []
        self._error: psycopg.Error | None = None

    def take(self, result: PGresult) -> int:
        """Read one result; how many transactions have been answered."""
        status = result.status
        if status == ExecStatus.TUPLES_OK:
            self._rows = []
            if result.ntuples and result.nfields:
                self._transformer.set_pgresult(result)
                self._rows = self._transformer.load_rows(0, result.ntuples, tuple)
        elif status == ExecStatus.COMMAND_OK:
            self._rows = []
        elif status == ExecStatus.PIPELINE_SYNC:
            self.answers.append(self._rows if self._error is None else self._error)
            self._rows, self._error = [], None
        elif status == ExecStatus.FATAL_ERROR and self._error is None:
            self._error = psycopg.errors.error_from_result(result)
        return len(self.answers)
