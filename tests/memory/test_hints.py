"""Hints of one process: coalesced, and never silenced for good by one that could not be sent."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from config.errors import TransientError
from memory.connection.hints import Hints
from tests.pace import until


@pytest.mark.parametrize("problem", [psycopg.OperationalError("cut"), TransientError("no connection became free")])
async def test_one_that_cannot_be_sent_does_not_silence_the_next(problem: Exception) -> None:
    """The poll covers what was lost; what is offered afterwards goes out at once again."""
    tried: list[list[str]] = []

    async def send(payloads: Sequence[str]) -> None:
        tried.append(list(payloads))
        if len(tried) == 1:
            hints.later(["task"])  # while this one is under way
        else:
            raise problem

    hints = Hints(send)
    hints.later(["event"])
    await until(lambda: tried == [["event"], ["task"]] and not hints._resting)
    assert hints.offer(["event"]) == ["event"]
