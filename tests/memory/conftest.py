"""Small helpers of the memory room's tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from memory.connection.database import Database


class Clock:
    """A clock that stands still until it is moved; set as the database's clock."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        """What `Database.clock` asks for."""
        return self.now

    def forward(self, seconds: float) -> None:
        """Move it."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(db: Database) -> Clock:
    """The test's hand on the clock of its database."""
    clock = Clock()
    db.clock = clock
    return clock


@pytest.fixture
def make_clock() -> Callable[[], Clock]:
    """More clocks, for more databases."""
    return Clock
