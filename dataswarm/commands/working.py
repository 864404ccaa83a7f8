"""Commands about work and what is told of it: tasks, events."""

from __future__ import annotations

import asyncio
import enum
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.answering import do
from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, at_desk, command, group, whoever
from dataswarm.rendering import Page, answer, moment

if TYPE_CHECKING:
    from memory.records import TaskState

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The task.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
FOLLOW_SECONDS = 1.0


class State(enum.StrEnum):
    """Where a task can be."""

    READY = "ready"
    LEASED = "leased"
    SCHEDULED = "scheduled"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ALIVE = (State.READY, State.LEASED, State.SCHEDULED, State.PARKED)


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    tasks = group(app, "tasks", "Work waiting, under way, done and failed.")
    _add_list(tasks)
    _add_show(tasks)
    _add_deeds(tasks)
    _add_tail(group(app, "events", "What agents are told, as it happens."))


def _add_list(tasks: typer.Typer) -> None:
    @command(tasks, "list", "dataswarm tasks list", "dataswarm tasks list --state failed --agent incident-response")
    def list_all(
        state: Annotated[list[State] | None, typer.Option("--state", help="Default: what is not finished.")] = None,
        agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Of this agent alone.")] = None,
        kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Of this kind alone.")] = None,
        limit: Limit = 50,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Tasks, the newest first."""
        from dataswarm import listings  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            states = _states(tuple(state) if state else ALIVE)
            found = await listings.task_list(desk.database, states=states, agent=agent, kind=kind, limit=limit)
            return {"source": desk.source, "tasks": found}

        def show(page: Page) -> None:
            if not found["tasks"]:
                page.line("no such tasks" if state else "nothing is waiting or under way; --state succeeded shows more")
            rows = [
                (
                    t["id"],
                    t["agent"],
                    t["kind"],
                    t["state"],
                    f"{t['attempt']}/{t['max_attempts']}",
                    t["subject"],
                    t["error"],
                )
                for t in found["tasks"]
            ]
            page.table(("id", "agent", "kind", "state", "attempt", "subject", "last error"), rows)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


def _add_show(tasks: typer.Typer) -> None:
    @command(tasks, "show", "dataswarm tasks show 42")
    def show_one(
        id: Id,  # noqa: A002
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Everything about one task, with what it changed outside."""
        from dataswarm import listings, operations  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            found = await listings.task(desk.database, id)
            if found is None:
                raise await operations.unknown_task(desk.database, id)
            return {"source": desk.source, **found}

        def show(page: Page) -> None:
            effects = found["effects"]
            for name, value in found.items():
                if name not in ("source", "effects"):
                    page.line(f"{name}: {value if isinstance(value, str | int | float) else json.dumps(value)}")
            page.table(
                ("effect", "step", "target", "class", "state"),
                [(e["id"], e["step"], e["target"], e["effect_class"], e["state"]) for e in effects],
            )

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


def _states(wanted: tuple[State, ...]) -> list[TaskState]:
    from memory.records import TaskState  # noqa: PLC0415 - see the package

    return [TaskState(state.value) for state in wanted]


def _add_deeds(tasks: typer.Typer) -> None:
    @command(tasks, "retry", "dataswarm tasks retry 42")
    def retry(id: Id, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:  # noqa: A002
        """Bring a task that failed for good back to life."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.retry_task(database, id, by=whoever(by)),
            as_json=as_json,
            said=lambda _: f"task {id} is tried again",
        )

    @command(tasks, "cancel", "dataswarm tasks cancel 42")
    def cancel(id: Id, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:  # noqa: A002
        """Cancel a task that is not finished."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.cancel_task(database, id, by=whoever(by)),
            as_json=as_json,
            said=lambda _: f"task {id} is cancelled",
        )


def _add_tail(events: typer.Typer) -> None:
    @command(
        events,
        "tail",
        "dataswarm events tail",
        'dataswarm events tail --topic "incident.*" --follow',
        "dataswarm events tail --json",
    )
    def tail(
        topic: Annotated[
            list[str] | None, typer.Option("--topic", metavar="PATTERN", help="incident.* say; may be repeated.")
        ] = None,
        limit: Limit = 20,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """The newest events, the newest last. With --follow and --json, one JSON object a line."""
        from dataswarm import listings  # noqa: PLC0415 - see the package

        topics = topic or ["*"]

        async def once(desk: Desk) -> dict[str, Any]:
            return {"source": desk.source, "events": await listings.events(desk.database, topics=topics, limit=limit)}

        async def endless(desk: Desk) -> None:
            seen: set[int] = set()
            while True:
                found = await listings.events(desk.database, topics=topics, limit=limit if not seen else 1000)
                fresh = [event for event in found if event["id"] not in seen]
                seen = {event["id"] for event in found} or seen
                for event in fresh:
                    typer.echo(json.dumps({"source": desk.source, **event}) if as_json else _line(event))
                await asyncio.sleep(FOLLOW_SECONDS)

        def show(page: Page) -> None:
            if not found["events"]:
                page.line("nothing has happened yet")
            for event in found["events"]:
                page.line(_line(event))

        if follow:
            at_desk(config, endless)
            return
        found = at_desk(config, once)
        answer(found, as_json=as_json, show=show)


def _line(event: dict[str, Any]) -> str:
    to = f" → {event['agent']}" if event["agent"] else ""
    return f"{moment(event['at'])}  {event['topic']:<32} {event['subject']}  {event['reference']}{to}"
