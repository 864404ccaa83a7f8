"""The command by which a human says that a change of structure stays: drift accept."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dataswarm.commands.answering import Needed
from dataswarm.commands.drift_history import chosen
from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, command, tell, whoever
from dataswarm.rendering import Page


def add_to(drift: typer.Typer) -> None:
    """Hang the command into `drift`."""

    @command(
        drift,
        "accept",
        'dataswarm drift accept shop 412 --reason "release 7 renamed it for good"',
        'dataswarm drift accept shop --all --reason "the new model" --as maria',
    )
    def accept(
        source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where it changed.")],
        reason: Needed,
        changes: Annotated[
            list[str] | None, typer.Argument(metavar="[CHANGE…]", help="Its number, as `drift history` shows it.")
        ] = None,
        everything: Annotated[bool, typer.Option("--all", help="All that is open.")] = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """A change stays: it is open no longer, and its undoing would be a change of its own."""

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm.drifting import past  # noqa: PLC0415 - see the package
            from dataswarm.views import plain  # noqa: PLC0415

            [name] = chosen(desk, source)
            async with desk.database.transaction() as tx:
                done = await past.accept(tx, name, changes or (), everything=everything, reason=reason, by=whoever(by))
            return {"name": name, "accepted": [{**plain(one), "state": "accepted"} for one in done], "reason": reason}

        tell(config, work, as_json=as_json, show=_show)


def _show(page: Page, found: dict[str, Any]) -> None:
    if not found["accepted"]:
        page.line(f"nothing of {found['name']} is open")
    for one in found["accepted"]:
        page.line(f"{one['id']}: {one['summary']} stays ({one['subject']})")
