"""Commands by which a human has a say about incidents and remedies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, By, ConfigFile, at_desk, command, whoever
from dataswarm.rendering import answer

if TYPE_CHECKING:
    from dataswarm.commands.shared import Desk
    from memory.connection.database import Database

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="The incident.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept and shown.")]
Needed = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept and shown.", show_default=False)]
Deed = Callable[["Database"], Awaitable[dict[str, Any]]]


def do(config: Path | None, deed: Deed, *, as_json: bool, said: Callable[[dict[str, Any]], str]) -> None:
    """Do something at the blackboard and say in a sentence what was done."""

    async def work(desk: Desk) -> dict[str, Any]:
        return {"source": desk.source, **await deed(desk.database)}

    done = at_desk(config, work)
    answer(done, as_json=as_json, show=lambda page: page.line(said(done)))


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    _add_to_incidents(app)
    _add_to_remedies(app)


def _add_to_incidents(app: typer.Typer) -> None:
    @command(app, "ack", "dataswarm ack 12", "dataswarm ack 12 --as maria")
    def ack(id: Id, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:  # noqa: A002
        """Say that you look after an incident."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.acknowledge(database, id, by=whoever(by)),
            as_json=as_json,
            said=lambda done: f"incident {id} is looked after by {done['acknowledged_by']}",
        )

    @command(app, "close", 'dataswarm close 12 --reason "the producer brought the column back"')
    def close(
        id: Id,  # noqa: A002
        reason: Needed,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """End an incident by hand: you settled it."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.close(database, id, reason, by=whoever(by)),
            as_json=as_json,
            said=lambda done: f"incident {id} is {done['state']} ({done['resolution']})",
        )

    @command(app, "false-positive", 'dataswarm false-positive 12 --reason "a backfill, as every month"')
    def false_positive(
        id: Id,  # noqa: A002
        reason: Needed,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """End an incident that was none; it does not count in the ratio."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.false_positive(database, id, reason, by=whoever(by)),
            as_json=as_json,
            said=lambda _: f"incident {id} is closed as a false positive",
        )


def _add_to_remedies(app: typer.Typer) -> None:
    @command(app, "approve", "dataswarm approve 12", "dataswarm approve 12 --as maria --json")
    def approve(id: Id, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:  # noqa: A002
        """Let the remedy run that an incident waits to have approved (`show ID` has its diff)."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.approve(database, id, by=whoever(by)),
            as_json=as_json,
            said=lambda done: f"approved: remediation {done['approval']['remediation_id']} of incident {id} runs next",
        )

    @command(app, "deny", "dataswarm deny 12", 'dataswarm deny 12 --reason "not before the audit"')
    def deny(
        id: Id,  # noqa: A002
        reason: Reason = "",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Say no to the remedy; the incident goes to a human."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.deny(database, id, reason, by=whoever(by)),
            as_json=as_json,
            said=lambda done: f"denied: remediation {done['approval']['remediation_id']} of incident {id} is not run",
        )

    @command(app, "undo", "dataswarm undo 7")
    def undo(
        remediation: Annotated[int, typer.Argument(metavar="REMEDIATION", min=1, help="As `show ID` names it.")],
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Have an applied remedy taken back, by the playbook's own undo."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.undo(database, remediation, by=whoever(by)),
            as_json=as_json,
            said=lambda done: (
                f"remediation {remediation} is being taken back (task {done['task_id']}); "
                f"`dataswarm show {done['incident_id']}` follows it"
            ),
        )
