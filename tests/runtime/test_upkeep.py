"""The rounds of a process beside its agents' work, each with the clock moved; then all of them as they run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.runtime import upkeep
from agents.runtime.upkeep import Upkeep
from config.errors import PermanentError, SetupError, TransientError
from config.settings import EmbeddingSettings, Settings
from memory import bus
from memory.beliefs import knowledge
from memory.board import approvals, ledger, remediations
from memory.connection.database import Database
from memory.finding import embeddings, recall
from memory.queue import timers
from memory.records import ApprovalState, NewObservation, RemediationState, Sensitivity
from memory.server import partitions
from memory.vault import envelopes
from tests.memory.conftest import Clock, clock
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS, opened, proposed
from tests.pace import PATIENCE, until

__all__ = ["clock"]
DAY = 86400.0


class Beat:
    """Counts the reports of a process, and fails when told to."""

    def __init__(self) -> None:
        self.times = 0
        self.fails: Exception | None = None

    async def __call__(self) -> None:
        """Report."""
        self.times += 1
        if self.fails is not None:
            raise self.fails


class Toy:
    """A model that gives every text the same vector; it is away when told to be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.away = False

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text."""
        if self.away:
            raise TransientError("the provider is away")
        return [[1.0, 0.0, 0.5] for _ in texts]

    async def question(self, text: str) -> list[float]:
        """The vector of a question."""
        return (await self.documents([text]))[0]


def kept(db: Database, beat: Beat | None = None, embedder: Callable[[Any], Any] | None = None, **said: Any) -> Upkeep:
    """The upkeep of a process with these settings."""
    settings = Settings.model_validate(said)
    more = {} if embedder is None else {"embedder": embedder}
    return Upkeep(db, lambda: settings, beat=beat or Beat(), **more)


async def test_an_unanswered_question_is_closed_in_time(db: Database, clock: Clock) -> None:
    """The process reports itself; the question expires, its remedy is refused, once over all replicas."""
    beat = Beat()
    async with db.transaction() as tx:
        remedy = await proposed(tx, await opened(tx))
        asked = await approvals.ask(tx, remedy, "May it?", 60)
        cursor = await bus.now_cursor(tx)
    await kept(db, beat).keep_house()
    async with db.transaction() as tx:
        assert len(await approvals.pending(tx)) == 1
    clock.forward(61)
    await asyncio.gather(kept(db, beat).keep_house(), kept(db, beat).keep_house())
    assert beat.times == 3
    async with db.transaction() as tx:
        answered = await approvals.get(tx, asked.id)
        assert answered is not None
        assert answered.state is ApprovalState.EXPIRED
        found = await remediations.get(tx, remedy.id)
        assert found is not None
        assert (found.state, found.result["reason"]) == (RemediationState.REFUSED, "nobody answered in time")
        events, _ = await bus.read(tx, cursor, topics=["approval.expired"], agent="incident-response")
        assert len(events) == 1


async def test_a_question_whose_remedy_moved_on_stops_nothing(db: Database, clock: Clock) -> None:
    """The other questions are closed all the same."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        first, second = await proposed(tx, incident), await proposed(tx, incident, "rerun-failed")
        for remedy in (first, second):
            await approvals.ask(tx, remedy, "May it?", 60)
        await remediations.move(tx, first.id, before=[first.state], after=RemediationState.APPROVED)
    clock.forward(61)
    await kept(db).keep_house()
    async with db.transaction() as tx:
        assert await approvals.pending(tx) == []
        states = [found.state for found in await remediations.of_incident(tx, incident.id)]
    assert states == [RemediationState.APPROVED, RemediationState.REFUSED]


async def test_a_due_timer_fires(db: Database, clock: Clock) -> None:
    """Not before its time, and once."""
    async with db.transaction() as tx:
        cursor = await bus.now_cursor(tx)
        await timers.set_(tx, "health", "t", clock.now + timedelta(seconds=60), {}, ORDERS)
    rounds = kept(db)
    await rounds.fire_timers()
    clock.forward(59)
    await rounds.fire_timers()
    async with db.transaction() as tx:
        assert (await bus.read(tx, cursor, topics=["timer.due"], agent="health"))[0] == []
    clock.forward(1)
    await rounds.fire_timers()
    await rounds.fire_timers()
    async with db.transaction() as tx:
        assert len((await bus.read(tx, cursor, topics=["timer.due"], agent="health"))[0]) == 1


async def test_what_is_past_retention_goes_with_all_that_hangs_on_it(db: Database, clock: Clock) -> None:
    """Rows, index and data keys; nothing that still stands loses its key, whatever the hour; facts stay."""
    sealing(db)
    rounds = kept(db, retention={"observations_days": 2})
    await rounds.forget()
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        hidden = NewObservation("row.sampled", ORDERS, payload={"v": 4711}, sensitivity=Sensitivity.CONFIDENTIAL)
        [number, _] = await ledger.record(tx, "a", [hidden, NewObservation("open.seen", ORDERS)])
        await knowledge.assert_fact(tx, "a", ORDERS, "sample", 1, expected=0, sensitivity=Sensitivity.CONFIDENTIAL)
        before = sum(wrapping.number for wrapping in await envelopes.wrappings(tx))
    assert number is not None
    for _ in range(11):  # as long as its row stands, it can be opened: looked at every six hours, up to the last
        clock.forward(DAY / 4)
        await rounds.forget()
        async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
            found = await ledger.observation(tx, number)
        assert found is None or found.payload == {"v": 4711}
    clock.forward(DAY * 2)
    await rounds.forget()
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        assert await ledger.observation(tx, number) is None
        assert await recall.recall(tx, "", nouns=["observation"]) == []
        held = await knowledge.fact(tx, ORDERS, "sample")
        assert held is not None
        assert held.object == 1
        assert sum(wrapping.number for wrapping in await envelopes.wrappings(tx)) == before - 1
        assert set((await partitions.horizon(tx)).values()) == {partitions.AHEAD_DAYS}


async def test_words_are_counted(db: Database) -> None:
    """What was written since the last round; the next one finds nothing left."""
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "note", "amounts are in cents", expected=0)
    await kept(db).fold()
    assert await recall.fold(db) == 0


async def test_folders_are_followed(db: Database, tmp_path: Path) -> None:
    """New, changed and deleted files within one round each; a folder that is not there stops no other."""
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "a.md").write_text("# Alpha\npayments arrive at night")
    rounds = kept(db, memory={"files": [str(tmp_path / "nowhere"), str(folder)]})
    with capture_logs() as logs:
        await rounds.index()
        await rounds.index()
    assert [entry["event"] for entry in logs] == ["files.left_out", "files.indexed"]  # each once
    assert await found(db, "payments") == ["night"]
    (folder / "a.md").write_text("# Alpha\npayments arrive at noon")
    await rounds.index()
    assert await found(db, "payments") == ["noon"]
    (folder / "a.md").write_bytes(b"\xff\x00 payments")
    with capture_logs() as logs:
        await rounds.index()
        await rounds.index()
    assert [(entry["event"], entry["path"]) for entry in logs] == [("files.left_out", "a.md")]
    assert await found(db, "payments") == ["noon"]  # the last that could be read
    (folder / "a.md").unlink()
    await rounds.index()
    assert await found(db, "payments") == []


async def found(db: Database, words: str) -> list[str]:
    """When the payments arrive, by all that fits."""
    async with db.transaction() as tx:
        return [item.text.partition("payments arrive at ")[2].split()[0] for item in await recall.recall(tx, words)]


async def covered(db: Database) -> dict[str, tuple[int, int]]:
    """Embedded and pending, by model."""
    async with db.transaction() as tx:
        return {c.model: (c.embedded, c.pending) for c in await embeddings.coverage(tx)}


async def test_vectors_are_filled_in_where_a_model_is_configured(db: Database) -> None:
    """None without a name; with one, what waits; another name makes another model, the same makes it once."""
    made: list[str | None] = []

    def maker(wanted: EmbeddingSettings) -> Toy:
        made.append(wanted.name)
        return Toy(str(wanted.name))

    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, "note", "amounts are in cents", expected=0)
    settings = Settings()
    rounds = Upkeep(db, lambda: settings, beat=Beat(), embedder=maker)
    assert await rounds.embed() is False
    assert (made, await covered(db)) == ([], {})
    settings = Settings.model_validate({"embedding": {"name": "toy"}})
    assert [await rounds.embed() for _ in range(3)] == [True, False, False]
    assert (made, await covered(db)) == (["toy"], {"toy": (1, 0)})
    settings = Settings.model_validate({"embedding": {"name": "other"}})
    assert await rounds.embed() is True
    assert made == ["toy", "other"]
    settings = Settings()
    assert await rounds.embed() is False


async def test_a_model_that_cannot_be_used_is_asked_less_and_less(db: Database) -> None:
    """No such model, then a provider that is away: the pause grows to a minute, and is short again afterwards."""
    toy = Toy("toy")
    problems: list[Exception] = [SetupError("no such model")] * 6

    def maker(wanted: EmbeddingSettings) -> Toy:
        if problems:
            raise problems.pop()
        return toy

    rounds = kept(db, embedder=maker, embedding={"name": "toy"})
    pauses = []
    toy.away = True
    for expected in [SetupError] * 6 + [TransientError]:
        with pytest.raises(expected):
            await rounds.embed()
        pauses.append(rounds._patience)
    assert pauses == [10, 20, 40, 60, 60, 60, 60]
    toy.away = False
    await rounds.embed()
    assert rounds._patience == upkeep.EMBEDDING_SECONDS


def test_the_configured_model_is_made_or_refused() -> None:
    """An address that speaks OpenAI's words needs no more; an unknown provider is a mistake of the set-up."""
    wanted = EmbeddingSettings.model_validate(
        {"name": "openai:small", "base_url": "http://127.0.0.1:9/v1", "api_key": "k", "dimensions": 8}
    )
    assert upkeep.embedder_of(wanted).name == "openai:small@8"
    with pytest.raises(SetupError):
        upkeep.embedder_of(EmbeddingSettings(name="nobody:none"))


async def test_all_of_it_goes_on_until_it_is_stopped(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A round that fails, even by a bug, is logged; it and the others come round again; stop ends all at once."""
    caplog.set_level(logging.CRITICAL)
    beat, stop = Beat(), asyncio.Event()
    rounds = kept(db, beat, runtime={"agent_lease_seconds": 0.02, "poll_seconds": 0.02})
    with capture_logs() as logs:
        job = asyncio.create_task(rounds.run(stop))

        async def beaten(times: int) -> bool:
            return beat.times >= times

        await until(lambda: beaten(2))
        for problem, event in ((PermanentError("no"), "loop.failed"), (ValueError("a bug"), "loop.crashed")):
            beat.fails = problem
            await until(partial(_logged, logs, event))
        beat.fails = None
        times = beat.times
        await until(lambda: beaten(times + 2))
        async with db.transaction() as tx:
            cursor = await bus.now_cursor(tx)
            await timers.set_(tx, "health", "t", (await _now(db)) + timedelta(milliseconds=50), {}, ORDERS)
        await until(lambda: _fired(db, cursor))
        stop.set()
        await asyncio.wait_for(job, PATIENCE)
    assert {entry["loop"] for entry in logs if entry["event"].startswith("loop.")} == {"housekeeping"}


async def _now(db: Database) -> Any:
    from memory import clock as server  # noqa: PLC0415 - the fixture has its name here

    return await server.now(db)


async def _logged(logs: Sequence[Any], event: str) -> bool:
    return any(entry["event"] == event for entry in logs)


async def _fired(db: Database, cursor: Any) -> bool:
    async with db.transaction() as tx:
        return bool((await bus.read(tx, cursor, topics=["timer.due"], agent="health"))[0])
