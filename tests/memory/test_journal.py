"""A finished step is not run again, and never misread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel

from config.assets import Asset
from config.errors import LeaseLostError, PermanentError, SetupError, UsageError
from memory.connection.database import Database
from memory.queue import tasks
from memory.queue.journal import Journal
from memory.records import NewTask, Sensitivity, Task
from memory.server import partitions
from memory.vault import envelopes
from tests.memory.conftest import Clock
from tests.memory.sealing import sealing
from tests.pace import PATIENCE


class Profile(BaseModel):
    """A step's output."""

    rows: int
    at: datetime


class ChangedProfile(BaseModel):
    """The same step's output in a later release."""

    rows: int
    at: datetime
    checked: bool = False


@dataclass
class Nested:
    """A model in a dataclass."""

    profile: Profile
    more: dict[str, list[Decimal]] = field(default_factory=dict)


@dataclass
class OtherNested:
    """The same, one level down of another type."""

    profile: ChangedProfile
    more: dict[str, list[Decimal]] = field(default_factory=dict)


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


async def test_a_worker_that_lost_its_lease_begins_no_step(db: Database, clock: Clock) -> None:
    """The stale worker does not even begin; the new one does the step itself."""
    stale = await _task(db)
    clock.forward(16)
    (fresh,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
    produce, calls = _counted(1)
    with pytest.raises(LeaseLostError):
        await Journal(db, stale).step("count", produce, int)
    assert calls == []
    assert await Journal(db, fresh).step("count", produce, int) == 1


async def test_a_lease_lost_during_a_step_keeps_its_output_out(db: Database, clock: Clock) -> None:
    """What the stale worker produced meanwhile is thrown away, whether it ends before or after its successor's."""
    stale = await _task(db)

    async def slept() -> int:
        clock.forward(16)
        (fresh,) = await tasks.claim(db, ["health"], limit=1, worker=uuid4(), lease_seconds=15)
        produce, _ = _counted(2)
        assert await Journal(db, fresh).step("count", produce, int) == 2
        return 1

    journal = Journal(db, stale)
    with pytest.raises(LeaseLostError):
        await journal.step("count", slept, int)
    assert [step.output for step in await journal.steps()] == [2]


async def test_steps_at_the_same_time(db: Database) -> None:
    """Different steps do not wait for one another; the same one is done once."""
    journal = Journal(db, await _task(db))
    met = asyncio.Barrier(2)
    calls: list[str] = []

    async def meet() -> str:
        await met.wait()
        return "met"

    async def once() -> int:
        calls.append("once")
        return 1

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(journal.step(name, meet, str) for name in ("left", "right")))
        assert await asyncio.gather(*(journal.step("once", once, int) for _ in range(3))) == [1, 1, 1]
    assert calls == ["once"]
    assert {step.name for step in await journal.steps()} == {"left", "right", "once"}


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


@pytest.mark.parametrize(
    ("stored", "type_", "expected"),
    [
        (Decimal("1.50"), Decimal, str),
        ("1.50", str, Decimal),
        (1, int, int | None),
        ({1}, set[int], list[int]),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime, str),
        (Nested(Profile(rows=1, at=datetime(2026, 1, 1, tzinfo=UTC))), Nested, OtherNested),
    ],
)
async def test_types_that_look_alike_in_json_are_told_apart(
    db: Database, stored: Any, type_: Any, expected: Any
) -> None:
    """A Decimal is stored like a string, a set like a list: read as the other, each is refused."""
    task = await _task(db)
    produce, _ = _counted(stored)
    assert await Journal(db, task).step("value", produce, type_) == stored
    with pytest.raises(PermanentError, match="another shape"):
        await Journal(db, task).step("value", produce, expected)


async def test_outputs_keep_their_types(db: Database) -> None:
    """Containers, nested models, numbers, times and None come back as they went in."""
    task = await _task(db)
    profile = Profile(rows=1, at=datetime(2026, 1, 1, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5))))
    for name, value, type_ in [
        ("list", [profile], list[Profile]),
        ("none", None, type(None)),
        ("pair", (1, "a"), tuple[int, str]),
        ("nested", Nested(profile, {"x": [Decimal("0.10")]}), Nested),
        ("optional", None, Profile | None),
        ("union", profile, Profile | int),
        ("decimal", Decimal("123456789012345678901234567890.123456789"), Decimal),
        ("large", 2**80, int),
        ("float", 1e22, float),
        ("small", 5e-324, float),
        ("day", date(2026, 2, 28), date),
        ("length", timedelta(days=-1, microseconds=1), timedelta),
        ("uuid", UUID(int=7), UUID),
        ("numbered", {1: "a"}, dict[int, str]),
        ("set", frozenset({1, 2}), frozenset[int]),
        ("text", "\u2028 \N{GRINNING FACE} \ufeff '\"\\", str),
    ]:
        produce, _ = _counted(value)
        assert await Journal(db, task).step(name, produce, type_) == value  # type: ignore[arg-type]
        assert await Journal(db, task).step(name, produce, type_) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "type_", "said"),
    [
        (b"ab", dict[str, Any], "bytes"),
        (float("inf"), float, "not finite"),
        ([float("nan")], list[float], "not finite"),
        (float("inf"), float | None, "not finite"),
        (Decimal("NaN"), Decimal, "not finite"),
        ({(1, 2): "a"}, dict[tuple[int, int], str], "read back"),
        ("nul \0", str, "NUL"),
        ("half \ud800", str, "not JSON"),
    ],
)
async def test_what_json_would_change_is_refused(db: Database, value: Any, type_: Any, said: str) -> None:
    """Bytes, NaN, infinity, keys without a form, NUL: refused, with nothing stored."""
    journal = Journal(db, await _task(db))
    produce, _ = _counted({"a": {"b": [value]}} if isinstance(value, bytes) else value)
    with pytest.raises(UsageError, match=said):
        await journal.step("value", produce, type_)
    assert await journal.steps() == []


async def test_bytes_are_refused_before_anything_is_done(db: Database) -> None:
    """The type says it already."""
    produce, calls = _counted(b"ab")
    with pytest.raises(UsageError, match="bytes"):
        await Journal(db, await _task(db)).step("value", produce, dict[str, list[bytes]])
    assert calls == []


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


async def test_under_confidential_clearance_outputs_are_sealed(db: Database) -> None:
    """What a step yielded stands in no row in the clear, and comes back to whoever resumes with the key."""
    sealing(db)
    task = await _task(db)
    produce, ran = _counted({"secret": "the planted word"})
    journal = Journal(db, task, Sensitivity.CONFIDENTIAL)
    assert await journal.step("look", produce, dict[str, str]) == {"secret": "the planted word"}
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        [row] = await tx.all("task_steps", task_id=task.id)
    assert "planted" not in str(row)
    again = Journal(db, task, Sensitivity.CONFIDENTIAL)
    assert await again.step("look", produce, dict[str, str]) == {"secret": "the planted word"}
    assert len(ran) == 1


async def test_retention_takes_the_keys_of_steps_along(db: Database, clock: Clock) -> None:
    """A dropped step's data key goes with it, so that copies in backups stay shut; one that still stands opens."""
    sealing(db)
    done, alive, odd = await _task(db), await _task(db), await _task(db)
    for task in (done, alive):
        produce, _ = _counted("the planted word")
        await Journal(db, task, Sensitivity.CONFIDENTIAL).step("look", produce, str)
    produce, _ = _counted({"sealed": "no envelope", "box": "of ours", "more": ""})
    await Journal(db, odd).step("look", produce, dict[str, str])
    async with db.transaction() as tx:
        for task in (done, odd):
            await tasks.succeed(tx, task, None)
    assert await _keys(db) == 2
    clock.forward(86400 * 29)
    await partitions.maintain(db)
    assert await _keys(db) == 2
    clock.forward(86400 * 2)
    await partitions.maintain(db)
    assert await _keys(db) == 1
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        assert [await tx.all("task_steps", task_id=task.id) for task in (done, odd)] == [[], []]
    (kept,) = await Journal(db, alive, Sensitivity.CONFIDENTIAL).steps()
    assert kept.output == "the planted word"


async def _keys(db: Database) -> int:
    """How many data keys of steps there are."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        return sum(wrapping.number for wrapping in await envelopes.wrappings(tx)) - 1  # the key of keyed hashes


async def test_what_looks_sealed_and_is_not_is_refused(db: Database) -> None:
    """An open output of the shape of an envelope would be opened by whoever resumes: it is not stored."""
    sealing(db)
    journal = Journal(db, await _task(db))
    produce, _ = _counted({"sealed": str(uuid4()), "box": ""})
    with pytest.raises(UsageError, match="looks sealed"):
        await journal.step("forged", produce, dict[str, str])
    assert await journal.steps() == []


async def test_without_a_key_a_confidential_step_is_not_kept(db: Database) -> None:
    """It is refused with the name of the setting, and nothing is written in the clear."""
    task = await _task(db)
    produce, _ = _counted("the planted word")
    with pytest.raises(SetupError, match=r"memory\.keys"):
        await Journal(db, task, Sensitivity.CONFIDENTIAL).step("look", produce, str)
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        assert await tx.all("task_steps", task_id=task.id) == []
