"""What commands share: their common options, their examples, and the way to the blackboard."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dataswarm.commands.lengths import seconds
from dataswarm.rendering import Page, answer

if TYPE_CHECKING:
    from datetime import datetime

    from config.settings import Settings
    from memory.connection.database import Database

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
READING_CONNECTIONS = 2

EXAMPLES: dict[str, tuple[str, ...]] = {}

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration; else $DATASWARM_CONFIG, else ./dataswarm.yaml."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
Within = Annotated[str | None, typer.Option("--since", metavar="LENGTH", help="No older than this: 90s, 30m, 48h, 7d.")]
OnBranch = Annotated[str, typer.Option("--branch", metavar="NAME", help="On this branch.")]
Cleared = Annotated[bool, typer.Option("--confidential", help="What is confidential too; needs its key.")]
By = Annotated[str, typer.Option("--as", metavar="NAME", help="Who does this, as it is written down; default: you.")]


def command(app: typer.Typer, name: str, *examples: str) -> Callable[[F], F]:
    """Register a command under `name`, its examples at the end of its help."""
    EXAMPLES[f"{app.info.name} {name}".removeprefix("dataswarm ")] = examples
    lines = "\n".join(f"  {example}" for example in examples)
    return app.command(name, epilog=f"\b\nExamples:\n{lines}")


def group(app: typer.Typer, name: str, summary: str) -> typer.Typer:
    """A command with commands of its own, hung into the program."""
    made = typer.Typer(name=name, help=summary, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(made, name=name)
    return made


def whoever(by: str) -> str:
    """The name given, else the user's of the operating system."""
    if by.strip():
        return by.strip()
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "operator"


@dataclass(frozen=True, slots=True)
class Desk:
    """An open blackboard with the configuration that led to it."""

    settings: Settings
    database: Database

    @property
    def source(self) -> str:
        """`live` or `demo`, as every answer says."""
        return "demo" if self.settings.runtime.demo else "live"


def configured(path: Path | None) -> Settings:
    """The configuration, as far as a command that only talks to the blackboard needs it.

    What is installed is asked only where the file or the environment cannot be judged without: asking imports it all.

    Raises:
        ConfigError: with every problem found.
    """
    from config import settings  # noqa: PLC0415 - see the package
    from config.errors import ConfigError  # noqa: PLC0415

    try:
        return settings.load(path)
    except ConfigError:
        from dataswarm.app import load  # noqa: PLC0415

        return load(path)


def at_desk(path: Path | None, work: Callable[[Desk], Awaitable[T]]) -> T:
    """Open the blackboard, do `work`, close it.

    Raises:
        ConfigError: the configuration cannot be used.
        SetupError: the database is not there, not migrated, or not ours.
        TransientError: it does not answer.
    """
    _log_beside()
    settings = configured(path)
    return asyncio.run(_at_desk(settings, work))


def _log_beside() -> None:
    """Standard output belongs to the answer: what is logged meanwhile goes to standard error, wherever that is then."""
    import structlog  # noqa: PLC0415 - see the package

    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def tell(
    path: Path | None,
    work: Callable[[Desk], Awaitable[dict[str, Any]]],
    *,
    as_json: bool,
    show: Callable[[Page, dict[str, Any]], None],
) -> dict[str, Any]:
    """Do `work` at the blackboard and write what it found, with whether that is live or demo; what was written.

    Raises:
        SwarmError: as `at_desk`.
    """

    async def sourced(desk: Desk) -> dict[str, Any]:
        return {**await work(desk), "source": desk.source}

    found = at_desk(path, sourced)
    answer(found, as_json=as_json, show=lambda page: show(page, found))
    return found


async def back(desk: Desk, length: str | None) -> datetime | None:
    """So long ago, by the server's clock; None where no length was typed."""
    from memory import clock  # noqa: PLC0415 - see the package

    return None if length is None else await clock.now(desk.database) - timedelta(seconds=seconds(length))


async def _at_desk(settings: Settings, work: Callable[[Desk], Awaitable[T]]) -> T:
    from config.errors import SetupError  # noqa: PLC0415 - see the package
    from dataswarm.app import addresses  # noqa: PLC0415
    from dataswarm.sealing import vault_for  # noqa: PLC0415
    from memory.connection.database import Database  # noqa: PLC0415
    from memory.server import migrate  # noqa: PLC0415

    where = await asyncio.to_thread(addresses, settings)
    planned = await migrate.plan(where.owner if where.embedded is not None else where.worker)
    pending = [str(step) for step in planned if step.applied_at is None]
    if pending and where.embedded is not None and len(pending) == len(planned):
        await migrate.apply(where.owner)  # a memory nobody has used yet: nothing can go wrong
    elif pending:
        raise SetupError(
            f"the database lacks {len(pending)} migration(s): {', '.join(pending)}", hint="run `dataswarm migrate`"
        )
    database = await Database.open(
        where.worker,
        application_name="dataswarm/cli",
        pool_size=READING_CONNECTIONS,
        listen_url=where.listen,
        prepare=settings.database.prepare,
        statement_timeout_seconds=settings.database.statement_timeout_seconds,
    )
    database.vault = vault_for(settings)
    try:
        return await work(Desk(settings, database))
    finally:
        await database.close()
