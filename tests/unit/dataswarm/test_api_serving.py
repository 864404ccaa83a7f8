"""The door as a process serves it: a real socket, a live tail, a dead man's switch, and an orderly end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from config.errors import ConfigError, Problem, SetupError, TransientError, UsageError
from config.sections import RuntimeSettings
from config.settings import DatabaseSettings, HttpSettings, Settings
from dataswarm import heartbeat, serving
from dataswarm.app import Addresses, App
from dataswarm.members import Installed
from dataswarm.tailing import MOST_STREAMS, Tail
from memory import bus
from memory.bus.listener import Listener
from memory.connection.database import Database
from memory.records import Reference
from tests.memory.stage import ORDERS, opened
from tests.pace import PATIENCE


def _app(db: Database, **http: Any) -> App:
    """An application with no agent installed, its swarm real."""
    chosen = Settings(http=HttpSettings(port=0, **http), runtime=RuntimeSettings(demo=True, drain_seconds=1))
    chosen = chosen.model_copy(update={"database": DatabaseSettings(url=SecretStr(db.url))})
    return App(chosen, Addresses(db.url, db.url, db.url), db, Installed({}, {}, {}))


@asynccontextmanager
async def _up(app: App) -> AsyncIterator[httpx.AsyncClient]:
    """Swarm and door together, as `up` runs them."""
    stop, answers = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(app.run(stop))
        group.create_task(serving.serve(app, stop, bound=answers.set_result))
        try:
            async with httpx.AsyncClient(base_url=await answers) as client:
                yield client
        finally:
            stop.set()


async def _ready(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await _until(client, "/readyz", b'"ready":true')).json()
    return found


async def _until(client: httpx.AsyncClient, path: str, wanted: bytes) -> httpx.Response:
    async with asyncio.timeout(PATIENCE):
        while wanted not in (answer := await client.get(path)).content:  # noqa: ASYNC110 - as a client, we can only ask
            await asyncio.sleep(0.05)
    return answer


async def test_up_answers_and_goes_down(db: Database) -> None:
    """Ready once the swarm runs; the metrics show this process; nothing is left listening afterwards."""
    app = _app(db)
    async with _up(app) as client:
        assert (await client.get("/healthz")).json() == {"source": "demo", "alive": True}
        assert (await _ready(client))["checks"] == {"database": True, "swarm": True, "config": True}
        page = await _until(client, "/metrics", b"dataswarm_ready 1.0")
        assert b"dataswarm_listener_connected 1.0" in page.content
        assert "server" not in page.headers
        address = str(client.base_url)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(address)


async def test_a_refused_configuration_and_a_dead_loop_are_not_ready(db: Database) -> None:
    """`/readyz` names which."""
    app = _app(db)
    async with _up(app) as client:
        await _ready(client)
        app.config_problem = ConfigError([Problem("x.yaml:1", "wrong")])
        assert (await client.get("/readyz")).json()["checks"]["config"] is False
        app.config_problem = None
        [loop] = [task for task in asyncio.all_tasks() if task.get_name() == "timers"]
        loop.cancel()
        await asyncio.wait([loop])
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"database": True, "swarm": False, "config": True}


async def test_before_the_swarm_runs_it_is_not_ready(db: Database) -> None:
    """Alive is not ready."""
    health = await serving.Health(_app(db)).ask()
    assert health == {"ready": False, "checks": {"database": True, "swarm": False, "config": True}}


async def test_a_memory_that_is_away_is_not_ready(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asking about it raises nothing."""

    def away(*args: Any, **more: Any) -> Any:
        raise TransientError("away")

    monkeypatch.setattr(db, "transaction", away)
    assert (await serving.Health(_app(db)).ask())["checks"]["database"] is False


async def test_the_tail_is_live_and_ends_with_the_process(db: Database) -> None:
    """What is published reaches an open stream by its notification, in under a second; stopping ends the stream."""
    app = _app(db)
    async with _up(app) as client:
        await _ready(client)
        async with client.stream("GET", "/events", params={"newest": 0}, timeout=PATIENCE) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.headers["X-Dataswarm-Source"] == "demo"
            lines = stream.aiter_lines()
            async with asyncio.timeout(PATIENCE):
                assert await anext(lines) == "retry: 2000"
                async for line in lines:
                    if line == ": nothing new":
                        break
            began = asyncio.get_running_loop().time()
            async with db.transaction() as tx:
                incident = await opened(tx)
            async with asyncio.timeout(PATIENCE):
                async for line in lines:
                    if line.startswith("data: "):
                        break
            assert asyncio.get_running_loop().time() - began < 1.0
            told = json.loads(line.removeprefix("data: "))
            assert told["topic"] == "incident.open"
            assert told["reference"] == {"noun": "incident", "id": incident.id}
            assert told["source"] == "demo"


async def _publish(db: Database, number: int) -> None:
    async with db.transaction() as tx:
        await bus.publish(tx, "timer.due", ORDERS, Reference("timer", number))


def _no_listener() -> Listener | None:
    return None


async def _frames(tail: Tail, last_seen: str, newest: int, wanted: int) -> tuple[list[int], str]:
    """References of the next events of a stream, and the last id it gave."""
    first, cursor = await tail.begin(last_seen, newest)
    stream = tail.stream(first, cursor)
    seen: list[int] = []
    last = last_seen
    async with asyncio.timeout(PATIENCE):
        async for chunk in stream:
            for line in chunk.decode().splitlines():
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:])["reference"]["id"])
                if line.startswith("id: "):
                    last = line[4:]
            if len(seen) >= wanted:
                break
    await stream.aclose()  # type: ignore[attr-defined]
    return seen, last


async def test_who_comes_back_misses_nothing(db: Database) -> None:
    """The id of a stream's last event is a cursor: what happened meanwhile comes first, once, in order."""
    tail = Tail(db, _no_listener, asyncio.Event(), "live")
    for number in (1, 2, 3):
        await _publish(db, number)
    seen, last = await _frames(tail, "", 2, 2)
    assert seen == [2, 3]
    await _publish(db, 4)
    await _publish(db, 5)
    assert (await _frames(tail, last, 0, 2))[0] == [4, 5]


async def test_a_made_up_id_is_refused(db: Database) -> None:
    """Before anything is sent."""
    tail = Tail(db, _no_listener, asyncio.Event(), "live")
    for last_seen in ["x", "bnVsbA==", "e30=", "W10=", "{}", "ÿ", "eyJiYXNlIjogIjE6MTpzZWxlY3QifQ=="]:
        with pytest.raises(UsageError):
            await tail.begin(last_seen, 5)


async def test_streams_are_bounded(db: Database) -> None:
    """One too many is told to come back; a closed one makes room."""
    tail = Tail(db, _no_listener, asyncio.Event(), "live")
    streams = []
    for _ in range(MOST_STREAMS):
        stream = tail.stream(*await tail.begin("", 0))
        await anext(stream)
        streams.append(stream)
    with pytest.raises(TransientError):
        await tail.begin("", 0)
    await streams[0].aclose()  # type: ignore[attr-defined]
    await tail.begin("", 0)
    for stream in streams[1:]:
        await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stream_outlives_a_memory_that_is_away(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so and goes on where it was."""
    tail = Tail(db, _no_listener, asyncio.Event(), "live")
    stream = tail.stream(*await tail.begin("", 0))
    await anext(stream)
    real = db.transaction

    def away(*args: Any, **more: Any) -> Any:
        raise TransientError("away")

    monkeypatch.setattr(db, "transaction", away)
    async with asyncio.timeout(PATIENCE):
        async for chunk in stream:
            if b"event: problem" in chunk:
                break
        monkeypatch.setattr(db, "transaction", real)
        await _publish(db, 7)
        async for chunk in stream:
            if b'"id": 7' in chunk:
                break
    await stream.aclose()  # type: ignore[attr-defined]


def test_a_port_that_is_taken_is_said() -> None:
    """With what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(SetupError, match="cannot listen") as refused:
            serving.listen("127.0.0.1", taken.getsockname()[1])
        assert "http.port" in refused.value.hint
    with pytest.raises(SetupError, match="no address"):
        serving.listen("nowhere.invalid", 0)


def test_every_address_of_a_name_gets_the_same_port() -> None:
    """`localhost` is two addresses on most machines."""
    made = serving.listen("localhost", 0)
    try:
        assert len({each.getsockname()[1] for each in made}) == 1
    finally:
        for each in made:
            each.close()


@asynccontextmanager
async def _switch(answers: str) -> AsyncIterator[tuple[str, asyncio.Queue[str]]]:
    """The other end of a dead man's switch: answers, and tells what was asked."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait((await reader.readuntil(b"\r\n")).decode().strip())
        writer.write(f"HTTP/1.1 {answers}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret-path", asked


@pytest.mark.parametrize("answers", ["200 OK", "500 No"])
async def test_the_switch_is_called_while_ready(answers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Again and again, whatever it answers; not while something is wrong; its address stays out of the log."""
    is_ready, stop = True, asyncio.Event()

    async def ready() -> bool:
        return is_ready

    async with _switch(answers) as (url, asked):
        runtime = RuntimeSettings(heartbeat_url=SecretStr(url), heartbeat_seconds=0.05)
        beating = asyncio.create_task(heartbeat.beat(lambda: runtime, ready, stop))
        async with asyncio.timeout(PATIENCE):
            assert await asked.get() == "GET /secret-path HTTP/1.1"
            await asked.get()
        is_ready = False
        before = asked.qsize()
        stop_waiting = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.3, stop_waiting.set_result, None)
        await stop_waiting
        assert asked.qsize() <= before + 1  # one may have been on its way
        stop.set()
        await beating
    said = capsys.readouterr()
    assert "secret-path" not in said.out + said.err


async def test_a_switch_that_is_away_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens, and the loop goes on until it is told to stop."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    calls, stop = 0, asyncio.Event()

    async def ready() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            stop.set()
        return True

    runtime = RuntimeSettings(heartbeat_url=SecretStr(f"http://127.0.0.1:{port}/secret-path"), heartbeat_seconds=0.01)
    async with asyncio.timeout(PATIENCE):
        await heartbeat.beat(lambda: runtime, ready, stop)
    assert calls == 3
    said = capsys.readouterr()
    assert "secret-path" not in said.out + said.err
