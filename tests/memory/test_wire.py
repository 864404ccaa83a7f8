"""Statements over the pipeline: several transactions in a round trip, each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from memory.connection.wire import Line, exchange


@pytest.fixture
async def line(database_url: str) -> AsyncIterator[Line]:
    """A connection of this test's own."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as line:
        yield line


@pytest.mark.parametrize("prepare", [True, False])
async def test_values_and_rows(line: Line, prepare: bool) -> None:
    """Parameters by name, each type as its cast says; rows of the last statement of each transaction, as tuples."""
    text = "SELECT %(a)s::text, %(n)s::int - %(n)s::int, %(f)s::float8, %(b)s::bool, %(l)s::text[], %(x)s::int, '7%%'"
    values = {"a": "é", "n": 7, "f": 0.5, "b": True, "l": ["a", 'b"\\,'], "x": None, "unused": 1}
    for _ in range(3):
        answers = await exchange(
            line, [[("SELECT 1", {}), (text, values)], [("SELECT 2 WHERE false", {})]], prepare=prepare
        )
        assert answers == [[("é", 0, 0.5, True, ["a", 'b"\\,'], None, "7%")], []]


async def test_an_error_ends_its_own_transaction_alone(line: Line) -> None:
    """What stood before it is undone, what is sent behind it counts, and the line is good for the next."""
    await line.execute("CREATE TEMP TABLE kept (n int)")
    insert = "INSERT INTO kept VALUES (%(n)s::int)"
    fails = ("SELECT 1 / %(n)s::int", {"n": 0})
    for _ in range(2):
        first, second = await exchange(line, [[(insert, {"n": 1}), fails], [(insert, {"n": 2})]], prepare=True)
        assert isinstance(first, psycopg.errors.DivisionByZero)
        assert second == []
    assert await exchange(line, [[("SELECT n FROM kept", {})]], prepare=True) == [[(2,), (2,)]]


async def test_statements_thrown_away_are_prepared_again(line: Line) -> None:
    """A pooler, or the driver after a rollback, throws away what was prepared; nobody notices."""
    ask = [[("SELECT %(n)s::int", {"n": 7})]]
    assert await exchange(line, ask, prepare=True) == [[(7,)]]
    await line.execute("DEALLOCATE ALL")
    assert await exchange(line, ask, prepare=True) == [[(7,)]]


async def test_more_than_the_sockets_hold(line: Line) -> None:
    """Both sides wait for the other to read: neither hangs."""
    text = "x" * 3_000_000
    ask = [[("SELECT %(t)s::text", {"t": text})] * 3] * 2
    assert await exchange(line, ask, prepare=True) == [[(text,)], [(text,)]]


async def test_cancelling_closes_the_line(line: Line) -> None:
    """Nobody knows what counted, and no answer may be read as that to the next question."""
    asking = asyncio.create_task(exchange(line, [[("SELECT pg_sleep(30)", {})]], prepare=True))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert line.closed


async def test_a_cut_line_is_an_error(line: Line) -> None:
    """The server ends the session in the middle."""
    with pytest.raises(psycopg.OperationalError):
        await exchange(line, [[("SELECT pg_terminate_backend(pg_backend_pid())", {})]], prepare=True)
    assert line.closed
