"""Commands by which a human holds the swarm back: silence, planned change, kill switch, cap."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.answering import Reason, do
from dataswarm.commands.lengths import seconds
from dataswarm.commands.shared import AsJson, By, ConfigFile, at_desk, command, group, tell, whoever
from dataswarm.rendering import Page, answer, moment

if TYPE_CHECKING:
    from dataswarm.commands.shared import Desk

Length = typer.Argument(metavar="LENGTH", help="For how long: 30m, 2h, 1d.")


class Turn(enum.StrEnum):
    """What can be done with the switch."""

    ON = "on"
    OFF = "off"
    STATUS = "status"


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    _add_silence(app)
    _add_planned_change(app)
    _add_kill_switch(app)
    _add_cap(app)


def _add_silence(app: typer.Typer) -> None:
    @command(
        app,
        "silence",
        "dataswarm silence warehouse://shop/raw.orders 2h",
        'dataswarm silence "warehouse://shop/raw.*" 1d --reason "the producer migrates"',
    )
    def silence(
        asset: Annotated[str, typer.Argument(metavar="ASSET", help="A reference, or a pattern over references.")],
        length: Annotated[str, Length],
        reason: Reason = "",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Mute an asset for a while: what is seen there opens no incident."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        span = seconds(length)
        do(
            config,
            lambda database: operations.silence(database, asset, span, reason, by=whoever(by)),
            as_json=as_json,
            said=lambda done: f"{done['pattern']} is silent until {moment(done['ends_at'])}",
        )


def _add_planned_change(app: typer.Typer) -> None:
    planned = group(app, "planned-change", "Changes announced beforehand, so that their signs open no incident.")

    @command(
        planned,
        "add",
        "dataswarm planned-change add warehouse://shop/raw.orders --for 2h",
        'dataswarm planned-change add "warehouse://shop/raw.*" --kind "schema.*" --for 1d --reason "release 7"',
    )
    def add_one(
        pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="A reference, or a pattern over references.")],
        length: Annotated[str, typer.Option("--for", metavar="LENGTH", help="For how long from now: 30m, 2h, 1d.")],
        kind: Annotated[
            str, typer.Option("--kind", metavar="PATTERN", help="Over kinds of observations: schema.* say.")
        ] = "*",
        reason: Reason = "",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Announce a change that begins now."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        span = seconds(length)
        do(
            config,
            lambda database: operations.plan_change(database, pattern, kind, span, reason, by=whoever(by)),
            as_json=as_json,
            said=lambda done: f"{done['kind']} on {done['pattern']} is expected until {moment(done['ends_at'])}",
        )

    _add_import(planned)

    @command(planned, "list", "dataswarm planned-change list", "dataswarm planned-change list --json")
    def list_all(as_json: AsJson = False, config: ConfigFile = None) -> None:
        """What is announced for now."""
        from dataswarm import listings  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return {"source": desk.source, "planned_changes": await listings.planned_changes(desk.database)}

        def show(page: Page) -> None:
            rows = [
                (c["id"], c["pattern"], c["kind"], moment(c["ends_at"]), c["by"], c["reason"])
                for c in found["planned_changes"]
            ]
            if not rows:
                page.line("no change is announced; `dataswarm planned-change add` announces one")
            page.table(("id", "asset", "kind", "until", "by", "why"), rows)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


def _add_import(planned: typer.Typer) -> None:
    @command(
        planned,
        "import",
        "dataswarm planned-change import release.yaml",
        "dataswarm planned-change import plans.yaml --json",
    )
    def import_(
        file: Annotated[
            Path, typer.Argument(metavar="FILE", help="YAML: a list of asset, kind, from, for or until, reason, by.")
        ],
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Announce the changes of a file. What stands already stays as it is."""
        from config.errors import UsageError  # noqa: PLC0415 - see the package
        from dataswarm.drifting import announcing  # noqa: PLC0415

        try:
            announcements = announcing.read(file.read_text(encoding="utf-8-sig"), str(file))
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{file} is not UTF-8 text") from None

        async def work(desk: Desk) -> dict[str, Any]:
            from memory import clock  # noqa: PLC0415 - see the package

            now = await clock.now(desk.database)
            done = await announcing.announce(desk.database, announcements, by=whoever(by), now=now)
            return {"planned_changes": done, "new": sum(one["is_new"] for one in done)}

        tell(config, work, as_json=as_json, show=_show_imported)


def _show_imported(page: Page, found: dict[str, Any]) -> None:
    for one in found["planned_changes"]:
        until = f"expected until {moment(one['ends_at'])}" if one["is_new"] else "announced already"
        page.line(f"{one['kind']} on {one['pattern']}: {until}")
    if not found["planned_changes"]:
        page.line("the file announces nothing")


def _add_kill_switch(app: typer.Typer) -> None:
    @command(
        app,
        "kill-switch",
        'dataswarm kill-switch on --reason "audit today"',
        "dataswarm kill-switch off",
        "dataswarm kill-switch status --json",
    )
    def kill_switch(
        turn: Annotated[Turn, typer.Argument(metavar="on|off|status", help="What to do with it.")],
        reason: Reason = "",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """While it is on, the swarm changes nothing outside; it is read right before each write."""
        from dataswarm import listings, operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: (
                listings.kill_switch(database)
                if turn is Turn.STATUS
                else operations.kill_switch(database, turn is Turn.ON, reason, by=whoever(by))
            ),
            as_json=as_json,
            said=lambda done: (
                "the kill switch is off"
                if done["kill_switch"] is None
                else f"the kill switch is ON: {done['kill_switch']}"
            ),
        )


def _add_cap(app: typer.Typer) -> None:
    @command(
        app,
        "cap",
        "dataswarm cap all observe",
        'dataswarm cap playbook:quarantine-rows propose --reason "until we trust it"',
        'dataswarm cap "asset:warehouse://shop/finance.*" paused',
        "dataswarm cap all lift",
    )
    def cap(
        scope: Annotated[str, typer.Argument(metavar="SCOPE", help="all, agent:NAME, playbook:NAME or asset:PATTERN.")],
        level: Annotated[str, typer.Argument(metavar="LEVEL", help="observe, propose, act, paused, or lift.")],
        reason: Reason = "",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Hold a part of the swarm to a level at most; caps only narrow what the configuration allows."""
        from dataswarm import operations  # noqa: PLC0415 - see the package

        do(
            config,
            lambda database: operations.cap(database, scope, level, reason, by=whoever(by)),
            as_json=as_json,
            said=lambda done: (
                f"{scope} has no cap" if done["autonomy"] is None else f"{scope} may {done['autonomy']} at most"
            ).replace("may paused at most", "is paused"),
        )
