"""Commands to the agents themselves: what they can be asked to do, and asking for it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, at_desk, command, group, whoever
from dataswarm.rendering import Page, answer


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    agents = group(app, "agents", "What agents can be asked to do, and asking for it.")
    _add_list(agents)
    _add_ask(agents)


def _add_list(agents: typer.Typer) -> None:
    @command(
        agents,
        "list",
        "dataswarm agents list",
        "dataswarm agents list profile marts",
        "dataswarm agents list --agent pipeline-health",
    )
    def list_(
        words: Annotated[
            list[str] | None, typer.Argument(metavar="[WORDS]", help="Only what all of them are in.")
        ] = None,
        agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Of this one alone.")] = None,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What agents can be asked to do."""

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm.views import plain  # noqa: PLC0415 - see the package
            from memory import capabilities  # noqa: PLC0415

            async with desk.database.transaction(durable=False) as tx:
                offers = await capabilities.browse(tx, agent=agent, words=" ".join(words or ()))
            return {"source": desk.source, "capabilities": [plain(offer) for offer in offers]}

        def show(page: Page) -> None:
            if not found["capabilities"]:
                page.line("no agent offers that; agents publish what they can do when `dataswarm up` starts them")
            rows = [
                (o["agent"], o["name"], ", ".join(o["input"].get("properties") or o["input"]), o["description"])
                for o in found["capabilities"]
            ]
            page.table(("agent", "name", "needs", "what it does"), rows)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


def _add_ask(agents: typer.Typer) -> None:
    @command(
        agents,
        "ask",
        "dataswarm agents ask incident-response undo remediation_id=7",
        "dataswarm agents ask pipeline-health profile pipeline=shop run=abc --about dbt://shop",
    )
    def ask(
        agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whom.")],
        name: Annotated[str, typer.Argument(metavar="NAME", help="What for, as `agents list` has it.")],
        given: Annotated[
            list[str] | None, typer.Argument(metavar="[FIELD=VALUE]", help="Its input; a value is JSON, else a text.")
        ] = None,
        about: Annotated[str | None, typer.Option("--about", metavar="ASSET", help="What it is about.")] = None,
        key: Annotated[str | None, typer.Option("--key", help="Make the same ask once while it is alive.")] = None,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Ask an agent to do something: it becomes a task. Policy holds whatever it does back as always."""
        wanted = dict(_field(written) for written in given or ())

        async def work(desk: Desk) -> dict[str, Any]:
            from config.assets import Asset  # noqa: PLC0415 - see the package
            from memory import capabilities  # noqa: PLC0415

            async with desk.database.transaction() as tx:
                number = await capabilities.ask(
                    tx, agent, name, wanted, by=whoever(by), key=key, subject=Asset.parse(about) if about else None
                )
            return {"source": desk.source, "task": number}

        found = at_desk(config, work)
        answer(
            found,
            as_json=as_json,
            show=lambda page: page.line(f"task {found['task']}: `dataswarm tasks show {found['task']}`"),
        )


def _field(written: str) -> tuple[str, Any]:
    from config.errors import UsageError  # noqa: PLC0415 - see the package

    name, equals, value = written.partition("=")
    if not equals or not name:
        raise UsageError(f"not a field of an input: {written[:60]!r}", hint="write FIELD=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
