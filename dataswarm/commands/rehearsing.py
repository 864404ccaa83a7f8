"""Commands for rehearsals: `dataswarm memory rehearsal …`. `dataswarm events replay --keep` makes them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, Limit, command, group, tell
from dataswarm.rendering import Page, moment

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The rehearsal.")]
MAKING = "`dataswarm events replay --agent NAME --since 2h --branch BRANCH --keep` makes one"


def add_to(memory: typer.Typer) -> None:
    """Hang the commands into `memory`."""
    rehearsal = group(memory, "rehearsal", "What agents said in replays that were kept, apart from what is real.")
    _add_list(rehearsal)
    _add_show(rehearsal)
    _add_compare(rehearsal)


def _add_list(rehearsal: typer.Typer) -> None:
    @command(
        rehearsal,
        "list",
        "dataswarm memory rehearsal list",
        "dataswarm memory rehearsal list --branch what-if --agent pipeline-health --json",
    )
    def list_(
        branch: Annotated[str | None, typer.Option("--branch", metavar="NAME", help="On this branch alone.")] = None,
        agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Of this agent alone.")] = None,
        limit: Limit = 50,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Rehearsals, the newest first."""
        from dataswarm import replays  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return {"rehearsals": await replays.listed(desk.database, branch=branch, agent=agent, limit=limit)}

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["rehearsals"]:
                page.line("no such rehearsal" if branch or agent else f"nothing was rehearsed yet; {MAKING}")
            rows = [
                (r["id"], r["branch"], r["agent"], moment(r["since"]), moment(r["until"]), r["by"], moment(r["at"]))
                for r in found["rehearsals"]
            ]
            page.table(("id", "branch", "agent", "from", "to", "by", "at"), rows)

        tell(config, work, as_json=as_json, show=show)


def _add_show(rehearsal: typer.Typer) -> None:
    @command(rehearsal, "show", "dataswarm memory rehearsal show 3")
    def show_one(
        id: Id,  # noqa: A002
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What was said in one rehearsal, in its order. --json has the verdicts whole."""
        from dataswarm import replays  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await replays.shown(desk.database, id)

        def show(page: Page, found: dict[str, Any]) -> None:
            title = f"rehearsal {id}: {found['agent']} on {found['branch']}"
            page.line(f"{title}, {moment(found['since'])} to {moment(found['until'])}", style="bold")
            page.line(f"by {found['by']}, {moment(found['at'])}")
            if not found["verdicts"]:
                page.line("it said nothing")
            rows = [
                (f"event:{v['event_id']}" if v["event_id"] else "", v["verdict"], v["subject"], v["cause"])
                for v in found["verdicts"]
            ]
            page.table(("answers", "verdict", "about", "cause"), rows)

        tell(config, work, as_json=as_json, show=show)


def _add_compare(rehearsal: typer.Typer) -> None:
    @command(
        rehearsal,
        "compare",
        "dataswarm memory rehearsal compare 3",
        "dataswarm memory rehearsal compare 3 4 --json",
    )
    def compare(
        id: Id,  # noqa: A002
        other: Annotated[
            int | None,
            typer.Argument(metavar="[OTHER]", min=1, help="Another one of the same agent; default: what was decided."),
        ] = None,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What a rehearsal says otherwise than another one, or than what the agent really decided in that range.

        An agent that was behind decided later, and some decisions are made in tasks, which no replay runs: compare with
        a rehearsal on main where that matters.
        """
        from dataswarm import replays  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await replays.compared(desk.database, id, other)

        def show(page: Page, found: dict[str, Any]) -> None:
            there = "what was decided" if other is None else f"rehearsal {other}"
            page.line(
                f"rehearsal {id} and {there} say the same ({_times(found['both'])})"
                if found["is_same"]
                else f"rehearsal {id} and {there}: {_times(found['both'])} in common"
            )
            rows = [
                (where, said["verdict"], said["subject"], said["cause"], said["times"])
                for name, where in (("only_here", f"rehearsal {id}"), ("only_there", there))
                for said in found[name]
            ]
            page.table(("only in", "verdict", "about", "cause", "times"), rows)

        tell(config, work, as_json=as_json, show=show)


def _times(said: list[dict[str, Any]]) -> str:
    number = sum(one["times"] for one in said)
    return f"{number} verdict{'' if number == 1 else 's'}"
