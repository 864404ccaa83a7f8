"""`up`: the long-running service."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataswarm.commands.shared import ConfigFile, command

if TYPE_CHECKING:
    from config.settings import Settings
    from dataswarm.app import App

GRACE_SECONDS = 15.0  # beyond the drain: then what still runs is cancelled
LAST_SECONDS = 10.0  # and beyond that the process ends as it is, and says where every thread of it waits
OUT_OF_PATIENCE = 130


def add(app: typer.Typer) -> None:
    """Hang `up` into the program."""

    @command(
        app,
        "up",
        "dataswarm up",
        "dataswarm up --config /etc/dataswarm.yaml --migrate",
        "dataswarm up --only schema-drift --only pipeline-health",
    )
    def up(
        only: Annotated[
            list[str] | None, typer.Option("--only", metavar="AGENT", help="Run this agent alone; may be repeated.")
        ] = None,
        migrate: Annotated[bool, typer.Option("--migrate", help="Apply pending migrations first.")] = False,
        config: ConfigFile = None,
    ) -> None:
        """Run the swarm until it is told to stop (SIGTERM or Ctrl-C; twice to end at once)."""
        from config import logging, settings  # noqa: PLC0415 - see the package
        from dataswarm.app import load  # noqa: PLC0415

        loaded = load(config)
        logging.setup(loaded.logging, demo=loaded.runtime.demo)
        asyncio.run(serve(loaded, tuple(only or ()), settings.find(config), migrate_now=migrate))


async def serve(settings: Settings, only: tuple[str, ...], file: Path | None, *, migrate_now: bool) -> None:
    """Open the application and run swarm and door together until a signal comes or one of them fails.

    Raises:
        SetupError: no database, pending migrations, a port that is taken.
        ConfigError: `only` names an agent that is not installed.
    """
    from dataswarm.app import App  # noqa: PLC0415 - see the package
    from memory.queue.heartbeat import end_process  # noqa: PLC0415 - see the package

    opened = await App.open(settings, migrate_now=migrate_now)
    opened.on_hung = end_process
    stop = asyncio.Event()
    _heed_signals(stop, settings.runtime.drain_seconds + GRACE_SECONDS + LAST_SECONDS)
    _greet(settings)
    try:
        await _together(opened, stop, only, file)
    finally:
        await opened.close()
        faulthandler.cancel_dump_traceback_later()


async def _together(app: App, stop: asyncio.Event, only: tuple[str, ...], file: Path | None) -> None:
    """Swarm and door; whichever ends, the other drains: half a swarm looks alive and is not."""
    from dataswarm import serving  # noqa: PLC0415 - see the package

    jobs = [
        asyncio.create_task(app.run(stop, only=only, config=file), name="swarm"),
        asyncio.create_task(serving.serve(app, stop), name="door"),
    ]
    try:
        await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        _, late = await asyncio.wait(jobs, timeout=app.settings.runtime.drain_seconds + GRACE_SECONDS)
        for job in late:  # leases run out by themselves; a process that never ends is worse
            job.print_stack()
            job.cancel()
        ended = await asyncio.gather(*jobs, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException) and not (late and isinstance(outcome, asyncio.CancelledError)):
            raise outcome


def _heed_signals(stop: asyncio.Event, most_seconds: float) -> None:
    """The first signal drains, the second ends the process: whoever insists does not want to wait.

    A drain that takes longer than it can (a thread that hangs, a server that never answers) ends by exit status 1, with
    the stack of every thread on standard error: leases run out by themselves, a process that never ends is worse.
    """

    def heed() -> None:
        if stop.is_set():
            os._exit(OUT_OF_PATIENCE)
        stop.set()
        with contextlib.suppress(OSError, ValueError):  # standard error is no file
            faulthandler.dump_traceback_later(most_seconds, exit=True)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed)


def _greet(settings: Settings) -> None:
    """Say where the door will be: as a line to a human, as a record to a log."""
    import structlog  # noqa: PLC0415 - see the package

    http, demo = settings.http, settings.runtime.demo
    host = f"[{http.host}]" if ":" in http.host else http.host
    address = f"http://{host}:{http.port or 'a free port'}"
    if sys.stderr.isatty():
        said = f"{'DEMO: ' * demo}dataswarm is starting; {address} answers soon. Ctrl-C stops it.\n"
        sys.stderr.write(said)
    else:
        structlog.get_logger(__name__).info("up.starting", address=address, demo=demo)
