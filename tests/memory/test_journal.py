"""A finished step is not run again, and never misread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from config.assets import Asset
from config.errors import LeaseLostError, PermanentError, UsageError
from memory import tasks
from memory.database import Database
from memory.journal import Journal
from memory.records import NewTask, Task
from tests.memory.conftest import Clock


class Profile(BaseModel):
    """A step's output."""

    rows: int
    at: datetime


class ChangedProfile(BaseModel):
    """The same step's output in a later release."""

    rows: int
    at: datetime
    checked: bool = False


async def _task(db: Database) -> Task:
    async with db.transaction() as tx:
        await tasks.enqueue(tx, [NewTask("health", "act", Asset("warehouse", "shop"))])
    (task,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
    return task


def _counted(value: Any) -> tuple[Callable[[], Awaitable[Any]], list[int]]:
    calls: list[int] = []

    async def produce() -> Any:
        calls.append(1)
        return value

    return produce, calls


async def test_another_worker_resumes_after_the_last_step(db: Database, clock: Clock) -> None:
    """After takeover the finished step comes from the journal, equal to what the first worker got."""
    first = await _task(db)
    produce, calls = _counted(Profile(rows=3, at=datetime(2026, 11, 20, tzinfo=UTC)))
    before = await Journal(db, first).step("profile", produce, Profile)
    clock.forward(16)
    (second,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
    after = await Journal(db, second).step("profile", produce, Profile)
    assert before == after == Profile(rows=3, at=datetime(2026, 11, 20, tzinfo=UTC))
    assert calls == [1]
    (step,) = await Journal(db, second).steps()
    assert (step.name, step.version, step.attempt) == ("profile", 1, 1)


async def test_a_worker_that_lost_its_lease_writes_no_step(db: Database, clock: Clock) -> None:
    """The stale worker's output is thrown away; the new one does the step itself."""
    stale = await _task(db)
    clock.forward(16)
    (fresh,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
    produce, calls = _counted(1)
    with pytest.raises(LeaseLostError):
        await Journal(db, stale).step("count", produce, int)
    assert await Journal(db, fresh).step("count", produce, int) == 1
    assert calls == [1, 1]


async def test_a_step_that_raises_leaves_nothing(db: Database) -> None:
    """It is done again the next time."""
    journal = Journal(db, await _task(db))

    async def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await journal.step("count", broken, int)
    produce, _ = _counted(2)
    assert await journal.step("count", produce, int) == 2


async def test_a_changed_shape_or_version_is_refused(db: Database) -> None:
    """What another release stored is not misread, not even where it would fit."""
    task = await _task(db)
    produce, calls = _counted(Profile(rows=3, at=datetime(2026, 11, 20, tzinfo=UTC)))
    await Journal(db, task).step("profile", produce, Profile)
    with pytest.raises(PermanentError, match="another shape"):
        await Journal(db, task).step("profile", produce, ChangedProfile)
    with pytest.raises(PermanentError, match="version 2"):
        await Journal(db, task).step("profile", produce, Profile, version=2)
    assert calls == [1]


async def test_outputs_keep_their_types(db: Database) -> None:
    """Containers and None come back as they went in."""
    task = await _task(db)
    for name, value, type_ in [
        ("list", [Profile(rows=1, at=datetime(2026, 1, 1, tzinfo=UTC))], list[Profile]),
        ("none", None, type(None)),
        ("pair", (1, "a"), tuple[int, str]),
    ]:
        produce, _ = _counted(value)
        assert await Journal(db, task).step(name, produce, type_) == value  # type: ignore[arg-type]
        assert await Journal(db, task).step(name, produce, type_) == value  # type: ignore[arg-type]


async def test_bad_input(db: Database) -> None:
    """An unfit name, a type without JSON, an output of another type."""
    journal = Journal(db, await _task(db))
    produce, calls = _counted("text")
    with pytest.raises(UsageError, match="step"):
        await journal.step("x" * 401, produce, str)
    with pytest.raises(UsageError, match="no JSON form"):
        await journal.step("callable", produce, Callable)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is not"):
        await journal.step("number", produce, int)
    assert len(calls) == 1
