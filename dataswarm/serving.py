"""Serving the door of one process beside its swarm: HTTP, the reading of metrics, the dead man's switch."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog
import uvicorn

from agents.runtime.swarm import Swarm
from config.errors import SetupError, SwarmError
from dataswarm import __version__, heartbeat
from dataswarm.api import Doors, create
from dataswarm.app import App
from dataswarm.metrics import Local, Metrics
from dataswarm.views import source_of
from memory import clock

log = structlog.get_logger(__name__)
ANSWER_SECONDS = 3.0  # the database has so long to answer a question about health
ASK_SECONDS = 5.0
DRAIN_SECONDS = 3
BACKLOG = 128


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own, and stops swarm and door together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def serve(
    app: App, stop: asyncio.Event, *, metrics: Metrics | None = None, bound: Callable[[str], None] | None = None
) -> None:
    """Answer over HTTP until `stop`.

    Args:
        app: open; its swarm may start before or after.
        stop: ends it, open streams first.
        metrics: what `/metrics` shows; given by whoever also counts into it, else made here.
        bound: told the address once it answers; with port 0 it is only known then.

    Raises:
        SetupError: the address cannot be listened on.
    """
    http = app.settings.http
    sockets = listen(http.host, http.port)
    health = Health(app)
    metrics = metrics or Metrics(app.database, version=__version__, source=source_of(app.settings))
    metrics.local = health.local
    app.spent = metrics.spent
    doors = Doors(
        database=app.database,
        settings=lambda: app.settings,
        health=health.ask,
        metrics=metrics,
        version=__version__,
        listener=lambda: app.swarm.listener if app.swarm is not None else None,
        stopping=stop,
    )
    server = _Uvicorn(
        uvicorn.Config(
            create(doors),
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,  # who the peer is decides what it may do; nobody may say it is someone else
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    address = _address(http.host, sockets[0].getsockname()[1])
    try:
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(server.serve(sockets=sockets), name="http")
            group.create_task(metrics.run(stop), name="metrics")
            group.create_task(health.run(stop), name="health")
            group.create_task(heartbeat.beat(lambda: app.settings.runtime, health.is_ready, stop), name="dead-man")
            log.info("http.up", address=address, source=doors.source)
            if bound is not None:
                bound(address)
            await stop.wait()
            server.should_exit = True
            await answering
    finally:
        for each in sockets:
            each.close()
    log.info("http.down")


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on every address that a host has, all with one port.

    Raises:
        SetupError: the name is unknown, or none of its addresses can be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SetupError(f"http.host {host!r} is no address of this machine: {error.strerror}") from None
    made: list[socket.socket] = []
    refused: OSError | None = None
    for family, _, _, _, where in dict.fromkeys(found):
        place: tuple[Any, ...] = (where[0], port or (made[0].getsockname()[1] if made else 0), *where[2:])
        try:
            each = socket.create_server(place, family=family, backlog=BACKLOG)
        except OSError as error:  # a machine without IPv6 still has its name there
            refused = error
            continue
        each.setblocking(False)
        made.append(each)
    if not made:
        why = refused.strerror if refused is not None else "it has no address"
        raise SetupError(
            f"cannot listen on {host} port {port}: {why}", hint="another process has it? set http.port, or 0 for any"
        )
    return made


class Health:
    """What this process can say of itself."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._was_ready = False

    async def ask(self) -> dict[str, Any]:
        """Everything looked at now; `ready` where all of it is well."""
        checks = {
            "database": await self._is_reachable(),
            "swarm": await _runs(self._app.swarm),
            "config": self._app.config_problem is None,
        }
        self._was_ready = all(checks.values())
        return {"ready": self._was_ready, "checks": checks}

    async def run(self, stop: asyncio.Event) -> None:
        """Ask every so often, so that the metrics know without anybody else asking."""
        while not stop.is_set():
            await self.ask()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    await stop.wait()

    async def is_ready(self) -> bool:
        """`ask` in a word."""
        return bool((await self.ask())["ready"])

    def local(self) -> Local | None:
        """For the metrics; as ready as it was when somebody asked last."""
        swarm = self._app.swarm
        if swarm is None:
            return None
        return Local(
            process=str(swarm.process),
            is_ready=self._was_ready,
            is_listening=swarm.listener.connected,
            gaps=swarm.listener.gaps,
            running=len(swarm.workshop.running) if swarm.workshop is not None else 0,
            leases_lost=swarm.workshop.lost if swarm.workshop is not None else 0,
            has_config_problem=self._app.config_problem is not None,
            config=self._app.settings.fingerprint,
            figures=swarm.figures(),
        )

    async def _is_reachable(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await clock.now(self._app.database)
        except (SwarmError, TimeoutError) as error:
            log.warning("health.database", problem=type(error).__name__)
            return False
        return True


async def _runs(swarm: Swarm | None) -> bool:
    """Has it started, and does every loop of it still run? Loops are tasks of this event loop, known by name."""
    if swarm is None or not await _at_once(swarm.started()):
        return False
    there = {task.get_name() for task in asyncio.all_tasks()}
    wanted = {"housekeeping", "timers", *(f"agent-{name}" for name in swarm.considerations)}
    return wanted <= there


async def _at_once(waiting: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(0):
            await waiting
    except TimeoutError:
        return False
    return True


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
