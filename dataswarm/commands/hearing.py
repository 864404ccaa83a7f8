"""Commands about what is told on the bus: events tail, events replay."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, at_desk, command, group, whoever
from dataswarm.rendering import Page, answer, moment

Topics = Annotated[
    list[str] | None, typer.Option("--topic", metavar="PATTERN", help="incident.* say; may be repeated.")
]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="2h ago, or 2026-11-20T08:00.")]


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    events = group(app, "events", "What agents are told, as it happens and again.")
    _add_tail(events)
    _add_replay(events)


def _add_tail(events: typer.Typer) -> None:
    @command(
        events,
        "tail",
        "dataswarm events tail",
        'dataswarm events tail --topic "incident.*" --follow',
        "dataswarm events tail --agent pipeline-health --since 2h --json",
    )
    def tail(
        topic: Topics = None,
        agent: Annotated[
            str | None, typer.Option("--agent", metavar="NAME", help="Only what is not for another agent alone.")
        ] = None,
        since: Since = None,
        limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
        follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """The newest events, the newest last. With --follow and --json, one JSON object a line."""
        topics = topic or ["*"]
        if follow:
            at_desk(config, lambda desk: _follow(desk, topics, agent, since, limit, as_json=as_json))
            return

        async def once(desk: Desk) -> dict[str, Any]:
            from dataswarm import listings  # noqa: PLC0415 - see the package

            begin = await _point(desk, since)
            found = await listings.events(desk.database, topics=topics, agent=agent, since=begin, limit=limit)
            return {"source": desk.source, "events": found}

        def show(page: Page) -> None:
            if not found["events"]:
                page.line("no such events" if topic or since else "nothing has happened yet")
            for event in found["events"]:
                page.line(line_of(event))

        found = at_desk(config, once)
        answer(found, as_json=as_json, show=show)


async def _point(desk: Desk, text: str | None) -> Any:
    from dataswarm.commands.times import point  # noqa: PLC0415 - see the package
    from memory import clock  # noqa: PLC0415

    return None if text is None else point(text, await clock.now(desk.database))


async def _follow(
    desk: Desk, topics: list[str], agent: str | None, since: str | None, limit: int, *, as_json: bool
) -> None:
    from dataswarm import listings, tailing  # noqa: PLC0415 - see the package
    from memory.bus.listener import Listener  # noqa: PLC0415

    def show(found: Any) -> None:
        shown = listings.event(found)
        typer.echo(json.dumps({"source": desk.source, **shown}) if as_json else line_of(shown))

    listener = Listener(desk.database.listen_url)
    starting = asyncio.create_task(listener.start())  # the newest are shown meanwhile
    try:
        begin = await _point(desk, since)
        first, cursor = await tailing.begin(desk.database, topics=topics, agent=agent, since=begin, limit=limit)
        for event in first:
            show(event)
        async for followed in tailing.follow(desk.database, listener, cursor, topics=topics, agent=agent):
            if followed.problem:
                typer.echo(f"dataswarm: {followed.problem}; it goes on as soon as it can", err=True)
            for event in followed.events:
                show(event)
    finally:
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        await listener.close()


def line_of(event: dict[str, Any]) -> str:
    """An event in a line."""
    to = f" → {event['agent']}" if event["agent"] else ""
    return f"{moment(event['at'])}  {event['topic']:<32} {event['subject']}  {event['reference']}{to}"


def _add_replay(events: typer.Typer) -> None:
    @command(
        events,
        "replay",
        "dataswarm events replay --agent pipeline-health --since 2h",
        "dataswarm events replay --agent incident-response --since 2026-11-20T08:00 --until 2026-11-20T09:00 --json",
        "dataswarm events replay --agent pipeline-health --since 2h --branch what-if --keep",
    )
    def replay(
        agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="Who is told.", show_default=False)],
        since: Annotated[
            str, typer.Option("--since", metavar="TIME", help="2h ago, or 2026-11-20T08:00.", show_default=False)
        ],
        until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="As --since; default: now.")] = None,
        batch: Annotated[
            int | None,
            typer.Option("--batch", min=1, max=200, help="Events told at once; default: 200, with --keep one by one."),
        ] = None,
        branch: Annotated[
            str, typer.Option("--branch", metavar="NAME", help="What it believes is what this branch of memory says.")
        ] = "main",
        keep: Annotated[
            bool, typer.Option("--keep", help="Keep what it said as a rehearsal, to compare it with others.")
        ] = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Tell a past range to one agent again and show what it would say today. Nothing is done.

        It is told the time of the events and sees the observations and decisions of before; the rest of the blackboard
        is as it is now, and facts are those of the branch. Nothing is written, but for the rehearsal with --keep:
        `dataswarm memory rehearsal` has those.
        """
        from dataswarm import replays  # noqa: PLC0415 - see the package
        from dataswarm.app import load  # noqa: PLC0415
        from dataswarm.members import installed  # noqa: PLC0415
        from memory import clock  # noqa: PLC0415

        settings, members = load(config), installed()

        async def work(desk: Desk) -> dict[str, Any]:
            begin, end = await _point(desk, since), await _point(desk, until) or await clock.now(desk.database)
            keep_for, at_once = (whoever(by), batch or 1) if keep else (None, batch or 200)
            return await replays.replay(
                desk.database, settings, members, agent, since=begin, until=end, batch=at_once, branch=branch,
                keep_for=keep_for,
            )  # fmt: skip

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=lambda page: show_replay(page, found))


def show_replay(page: Page, found: dict[str, Any]) -> None:
    """What was told, and what was said to it."""
    _show_range(page, found)
    page.line()
    if found["told"]:
        page.line(f"{found['told']} of {found['read']} events concern it.")
    else:
        none_kept = "no event is kept" if found["kept_since"] is None else "none of them concerns it"
        page.line(f"{found['read']} events may reach it in this range; {none_kept}, so it was told nothing")
    for number, said in enumerate(found["answers"], 1):
        page.title(f"Batch {number}: {len(said['events'])} event(s)")
        _show_batch(page, said)
    _show_kept(page, found)


def _show_range(page: Page, found: dict[str, Any]) -> None:
    off = "" if found["is_enabled"] else " (it is disabled here)"
    page.line(f"{found['agent']}{off}, {moment(found['since'])} to {moment(found['until'])}", style="bold")
    written = "Nothing was written." if found["rehearsal"] is None else "Nothing but the rehearsal was written."
    page.line(f"{written} What it looked at is of the events' time, but for what is as it is now:")
    for what in found["as_of_now"]:
        page.line(f"  - {what}")
    if found["branch"] != "main":
        page.line(f"What it believes is what the branch {found['branch']} says.")
    if found["kept_since"] and found["kept_since"] > found["since"]:
        page.line(f"Events are kept since {moment(found['kept_since'])}; what was before cannot be told.")
    if found["is_cut"]:
        page.line(f"Only the first {found['read']} events were told: choose a shorter range.", style="yellow")


def _show_batch(page: Page, said: dict[str, Any]) -> None:
    for event in said["events"]:
        page.line(line_of(event))
    if said["problem"]:
        page.line(f"  it could not answer: {said['problem']}", style="red")
    elif not said["verdicts"]:
        page.line("  it would say nothing")
    for verdict in said["verdicts"]:
        page.line(f"  it would say: {verdict['summary']}")


def _show_kept(page: Page, found: dict[str, Any]) -> None:
    kept = found["rehearsal"]
    if kept is None:
        return
    page.line()
    page.line(f"Kept as rehearsal {kept}: `dataswarm memory rehearsal compare {kept}` tells it from what was real.")
    if found["left_out"]:
        page.line(f"{found['left_out']} verdict(s) over confidential evidence were not kept.", style="yellow")
