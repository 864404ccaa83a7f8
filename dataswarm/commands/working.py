"""Commands about work: tasks list, show, retry, cancel."""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, at_desk, command, group, whoever
from dataswarm.rendering import Page, answer, moment

if TYPE_CHECKING:
    from memory.records import TaskState

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The task.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]
Ids = Annotated[list[int], typer.Argument(metavar="ID…", min=1, help="The tasks.")]
Agent = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Of this agent alone.")]
Kind = Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Of this kind alone.")]


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
    _add_retry(tasks)
    _add_cancel(tasks)


def _add_list(tasks: typer.Typer) -> None:
    @command(
        tasks,
        "list",
        "dataswarm tasks list",
        "dataswarm tasks list --state failed --agent incident-response",
        'dataswarm tasks list --state succeeded --subject "warehouse://shop/*" --since 2h --json',
    )
    def list_all(
        state: Annotated[list[State] | None, typer.Option("--state", help="Default: what is not finished.")] = None,
        agent: Agent = None,
        kind: Kind = None,
        subject: Annotated[
            str | None, typer.Option("--subject", metavar="PATTERN", help="Of assets whose reference fits.")
        ] = None,
        since: Annotated[
            str | None,
            typer.Option("--since", metavar="TIME", help="Finished, dead or asked for since: 2h ago, or a time."),
        ] = None,
        limit: Limit = 50,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Tasks, the newest first, without payloads (`tasks show` has them)."""
        from dataswarm import listings  # noqa: PLC0415 - see the package
        from dataswarm.commands.times import point  # noqa: PLC0415
        from memory import clock  # noqa: PLC0415

        async def work(desk: Desk) -> dict[str, Any]:
            states = _states(tuple(state) if state else ALIVE)
            begin = point(since, await clock.now(desk.database)) if since else None
            found = await listings.task_list(
                desk.database, states=states, agent=agent, kind=kind, subject=subject, since=begin, limit=limit
            )
            note = "" if found else await listings.nothing_found(desk.database, agent, kind)
            return {"source": desk.source, "tasks": found, **({"note": note} if note else {})}

        def show(page: Page) -> None:
            if not found["tasks"]:
                is_narrow = state or agent or kind or subject or since
                page.line(
                    "no such tasks" if is_narrow else "nothing is waiting or under way; --state succeeded shows more"
                )
                if note := found.get("note"):
                    page.line(note)
            page.table(
                ("id", "agent", "kind", "state", "attempt", "subject", "since", "last error"), _rows(found["tasks"])
            )

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


def _rows(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            t["id"],
            t["agent"],
            t["kind"],
            f"{t['state']} ({t['reason']})" if t["reason"] else t["state"],
            f"{t['attempt']}/{t['max_attempts']}",
            t["subject"],
            moment(t["at"] or t["created_at"]),
            t["error"],
        )
        for t in found
    ]


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


def _add_retry(tasks: typer.Typer) -> None:
    @command(
        tasks,
        "retry",
        "dataswarm tasks retry 42",
        "dataswarm tasks retry 42 43 --json",
        "dataswarm tasks retry --all --kind investigate",
    )
    def retry(
        ids: Annotated[list[int] | None, typer.Argument(metavar="[ID…]", min=1, help="The tasks.")] = None,
        everything: Annotated[bool, typer.Option("--all", help="Every dead letter that the filters leave.")] = False,
        agent: Agent = None,
        kind: Kind = None,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Bring tasks that failed for good back to life, with all their attempts."""
        from config.errors import UsageError  # noqa: PLC0415 - see the package
        from dataswarm import task_deeds  # noqa: PLC0415

        if bool(ids) == everything:
            raise UsageError("name tasks, or say --all", hint="`dataswarm tasks list --state failed` shows them")
        if ids and (agent or kind):
            raise UsageError("--agent and --kind go with --all")

        async def work(desk: Desk) -> dict[str, Any]:
            who = whoever(by)
            if ids:
                return {"source": desk.source, **await task_deeds.retry(desk.database, ids, by=who)}
            return {"source": desk.source, **await task_deeds.retry_all(desk.database, agent=agent, kind=kind, by=who)}

        done = at_desk(config, work)
        answer(done, as_json=as_json, show=lambda page: _show_retried(page, done))
        if done["left"]:
            raise typer.Exit(1)


def _show_retried(page: Page, done: dict[str, Any]) -> None:
    if done["retried"]:
        page.line(f"tried again: {_counted(done['retried'])}")
    elif not done["left"]:
        page.line("no task that failed for good fits; `dataswarm tasks list --state failed` shows what there is")
    for left in done["left"]:
        page.line(f"left as it is: {left['why']}")


def _counted(ids: list[int]) -> str:
    few = ", ".join(str(task_id) for task_id in ids[:20])
    return f"task {few}" if len(ids) == 1 else f"{len(ids)} tasks ({few}{', …' * (len(ids) > 20)})"  # noqa: PLR2004


def _add_cancel(tasks: typer.Typer) -> None:
    @command(tasks, "cancel", "dataswarm tasks cancel 42", "dataswarm tasks cancel 42 43 --json")
    def cancel(ids: Ids, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Cancel tasks that are not finished. One that runs loses its lease at once and can write nothing more."""
        from dataswarm import task_deeds  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return {"source": desk.source, **await task_deeds.cancel(desk.database, ids, by=whoever(by))}

        def show(page: Page) -> None:
            for one in done["cancelled"]:
                page.line(f"task {one['task_id']} is cancelled" + _was(one))
            for left in done["left"]:
                page.line(f"left as it is: {left['why']}")

        done = at_desk(config, work)
        answer(done, as_json=as_json, show=show)
        if done["left"]:
            raise typer.Exit(1)


def _was(one: dict[str, Any]) -> str:
    """What a cancelled task was, and what becomes of a running one."""
    if one["was"] != State.LEASED:
        return f" (it was {one['was']})" if one["was"] else ""
    until = moment(one["lease_until"])
    return (
        f"; it was running: its worker is stopped at its next heartbeat, before {until}, and can write nothing more.\n"
        f"  What it was doing outside may have happened (`dataswarm tasks show {one['task_id']}` lists its effects);"
        f" a subject it had to itself stays taken until {until}."
    )
