"""Commands to the agents themselves: what they can be asked to do, and asking for it."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from dataswarm.commands import switching
from dataswarm.commands.lengths import seconds
from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, command, group, tell, whoever
from dataswarm.rendering import Page, moment

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Whom.")]


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    agents = group(app, "agents", "What agents can be asked to do, asking for it, and switching them off and on.")
    _add_list(agents)
    _add_show(agents)
    _add_ask(agents)
    switching.add_to(agents)


def _add_list(agents: typer.Typer) -> None:
    @command(
        agents,
        "list",
        "dataswarm agents list",
        "dataswarm agents list profile marts",
        "dataswarm agents list --agent pipeline-health --json",
    )
    def list_(
        words: Annotated[
            list[str] | None, typer.Argument(metavar="[WORDS]", help="Only what all of them are in.")
        ] = None,
        agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Of this one alone.")] = None,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What agents can be asked to do. `agents show` has one agent whole."""
        from dataswarm import asks  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await asks.offers(desk.database, agent=agent, words=" ".join(words or ()))

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["capabilities"]:
                page.line(found["note"])
            rows = [
                (
                    o["agent"],
                    o["name"],
                    ", ".join(_needs(o["input"])),
                    o["cost"],
                    o["autonomy"] or "by policy",
                    o["is_up"],
                    o["description"],
                )
                for o in found["capabilities"]
            ]
            page.table(("agent", "name", "needs", "cost", "autonomy", "up", "what it does"), rows)
            if found["switched_off"]:
                page.title("Switched off for all replicas (`dataswarm agents enable NAME --reason …`)")
                off = [(one["agent"], one["by"], moment(one["at"]), one["reason"]) for one in found["switched_off"]]
                page.table(("agent", "by", "at", "why"), off)

        tell(config, work, as_json=as_json, show=show)


def _needs(described: dict[str, Any]) -> list[str]:
    """The fields of an input; what may be left out in brackets."""
    from memory.members import capabilities  # noqa: PLC0415 - see the package

    shape = capabilities.schema(described)
    required = shape.get("required") or ()
    return [name if name in required else f"[{name}]" for name in shape["properties"]]


def _add_show(agents: typer.Typer) -> None:
    @command(agents, "show", "dataswarm agents show pipeline-health", "dataswarm agents show pipeline-health --json")
    def show_one(agent: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
        """One agent: where it runs, what it can be asked to do and with which input, and what it was asked lately."""
        from dataswarm import asks  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await asks.agent(desk.database, agent)

        tell(config, work, as_json=as_json, show=_show_agent)


def _show_agent(page: Page, found: dict[str, Any]) -> None:
    page.line(found["agent"], style="bold")
    page.line(
        f"it is {found['process']} now" if found["is_up"] else "no process is this agent now; what it is asked waits"
    )
    if not found["enabled"]:
        last = found["switches"][0] if found["switches"] else None
        who = "" if last is None else f" since {moment(last['at'])}, by {last['by']}: {last['reason']}"
        page.line(f"it is switched off{who}; it is not asked, and does nothing", style="yellow")
    page.line(f"performs: {', '.join(found['performs']) or 'nothing'}")
    if not found["capabilities"]:
        page.line("it offers nothing to ask for")
    for offer in found["capabilities"]:
        page.title(offer["name"])
        page.line(offer["description"])
        said = {"cost": offer["cost"], "autonomy": offer["autonomy"] or "by policy"}
        page.line("; ".join(f"{name}: {value}" for name, value in said.items() if value))
        page.table(("field", "type", "needed", "what it is"), _fields(offer["input"]))
        if offer["output"]:
            page.line(f"gives: {', '.join(_told(name, word) for name, word in _properties(offer['output']).items())}")
        page.line(f"  {offer['example']}")
    if found["asked"]:
        page.title("Asked lately")
        rows = [(t["id"], t["kind"], t["state"], moment(t["created_at"]), t["error"]) for t in found["asked"]]
        page.table(("task", "what", "state", "at", "last error"), rows)
    if found["switches"]:
        page.title("Switched for all replicas")
        turned = [(moment(s["at"]), "on" if s["enabled"] else "off", s["by"], s["reason"]) for s in found["switches"]]
        page.table(("at", "turned", "by", "why"), turned)


def _fields(described: dict[str, Any]) -> list[tuple[Any, ...]]:
    from memory.members import capabilities  # noqa: PLC0415 - see the package

    shape = capabilities.schema(described)
    words = {} if shape is described else described
    return [
        (
            name,
            _type(field),
            name in (shape.get("required") or ()),
            field.get("description") or ("" if words.get(name) == field.get("type") else words.get(name, "")),
        )
        for name, field in shape["properties"].items()
    ]


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    named = field.get("type") or "any"
    return " or ".join(named) if isinstance(named, list) else named


def _properties(described: dict[str, Any]) -> dict[str, Any]:
    return described["properties"] if isinstance(described.get("properties"), dict) else described


def _told(name: str, word: Any) -> str:
    if isinstance(word, dict):
        word = word.get("description") or word.get("type") or ""
    return f"{name} ({word})" if word else name


def _add_ask(agents: typer.Typer) -> None:
    @command(
        agents,
        "ask",
        "dataswarm agents ask schema-drift sense source=shop --wait",
        "dataswarm agents ask pipeline-health profile pipeline=shop_dbt run=abc --about dbt://shop_dbt",
    )
    def ask(
        agent: Name,
        name: Annotated[str, typer.Argument(metavar="NAME", help="What for, as `agents list` has it.")],
        given: Annotated[
            list[str] | None,
            typer.Argument(metavar="[FIELD=VALUE]", help="Its input; a value is JSON, else a text; a text stays one."),
        ] = None,
        about: Annotated[str | None, typer.Option("--about", metavar="ASSET", help="What it is about.")] = None,
        key: Annotated[str | None, typer.Option("--key", help="Make the same ask once while it is alive.")] = None,
        wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done, and show what came of it.")] = False,
        within: Annotated[str, typer.Option("--within", metavar="LENGTH", help="With --wait: at most so long.")] = "2m",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Ask an agent to do something: it becomes a task. Policy holds whatever it does back as always.

        With --wait the exit status is 0 when it succeeded, and 1 when it failed or is not done in time.
        """
        from dataswarm import asks  # noqa: PLC0415 - see the package

        wanted = dict(_field(written) for written in given or ())
        patience = seconds(within)

        async def work(desk: Desk) -> dict[str, Any]:
            made = await asks.ask(desk.database, agent, name, wanted, about=about, key=key, by=whoever(by))
            if not wait:
                return made
            if not made["is_up"] and sys.stderr.isatty():
                typer.echo(f"no process is {agent} now; it waits until `dataswarm up` runs one", err=True)
            return {**made, **await asks.outcome(desk.database, made["task"], patience)}

        found = tell(config, work, as_json=as_json, show=lambda page, found: _show_asked(page, agent, found))
        if wait and found["state"] != "succeeded":
            raise typer.Exit(1)


def _show_asked(page: Page, agent: str, found: dict[str, Any]) -> None:
    number = found["task"]
    if "state" not in found:
        page.line(f"task {number}: `dataswarm tasks show {number}`")
        if not found["is_up"]:
            page.line(f"no process is {agent} now; the task waits until `dataswarm up` runs one")
    elif not found["is_done"]:
        page.line(f"task {number} is {found['state']} still; `dataswarm tasks show {number}` tells when it is done")
        if not found["is_up"]:
            page.line(f"no process is {agent} now; `dataswarm up` runs one")
    else:
        page.line(f"task {number} {found['state']}" + (f": {found['error']}" if found["error"] else ""))
        if found["result"] is not None:
            page.line(json.dumps(found["result"], indent=2, ensure_ascii=False))


def _field(written: str) -> tuple[str, str]:
    from config.errors import UsageError  # noqa: PLC0415 - see the package

    name, equals, value = written.partition("=")
    if not equals or not name:
        raise UsageError(f"not a field of an input: {written[:60]!r}", hint="write FIELD=VALUE")
    return name, value
