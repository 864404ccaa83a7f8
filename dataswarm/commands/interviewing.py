"""`init`: a commented configuration for somebody's own stack, by flags or by asking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.founding import is_interactive, target
from dataswarm.commands.shared import AsJson, command
from dataswarm.rendering import Page, answer

if TYPE_CHECKING:
    from config.interview import Answers, ChannelAnswer


def add(app: typer.Typer) -> None:
    """Hang `init` into the program."""

    @command(
        app,
        "init",
        "dataswarm init",
        "dataswarm init --no-ask --warehouse shop --schema raw --schema marts --dbt-project ../shop --owner loader",
        "dataswarm init --no-ask --warehouse shop --print-grants",
        "dataswarm init --no-ask --channel ops=apprise --autonomy propose --force",
    )
    def init(
        warehouse: Annotated[str, typer.Option(help="The warehouse's name in asset references.")] = "warehouse",
        reader_variable: Annotated[
            str, typer.Option(metavar="NAME", help="Variable that holds its address as a role that only reads.")
        ] = "WAREHOUSE_READER_URL",
        actor_variable: Annotated[
            str, typer.Option(metavar="NAME", help="The same for the role that repairs; '' for none.")
        ] = "WAREHOUSE_ACTOR_URL",
        schema: Annotated[list[str] | None, typer.Option(help="What is looked at; may be repeated.")] = None,
        dbt_project: Annotated[str, typer.Option(metavar="DIR", help="The team's checkout of the dbt project.")] = "",
        dbt_target: Annotated[str, typer.Option(metavar="PLACE", help="Its artefacts, if elsewhere.")] = "",
        dbt_executable: Annotated[str, typer.Option(metavar="COMMAND", help="What starts the team's dbt.")] = "dbt",
        repository: Annotated[str, typer.Option(metavar="ADDRESS", help="The git repository of the models.")] = "",
        branch: Annotated[str, typer.Option(help="Its production branch.")] = "main",
        channel: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME=KIND", help="A way to a human (apprise, webhook); may be repeated."),
        ] = None,
        autonomy: Annotated[str, typer.Option(help="How far the swarm may go: observe, propose, act.")] = "observe",
        memory_variable: Annotated[
            str, typer.Option(metavar="NAME", help="Variable with the address of the swarm's own database.")
        ] = "",
        database: Annotated[str, typer.Option(help="The warehouse's database, for the grants.")] = "",
        owner: Annotated[
            list[str] | None, typer.Option(metavar="ROLE", help="Who makes tables there, for the grants.")
        ] = None,
        reader_role: Annotated[str, typer.Option(metavar="ROLE", help="For the grants.")] = "dataswarm_reader",
        actor_role: Annotated[str, typer.Option(metavar="ROLE", help="For the grants.")] = "dataswarm_actor",
        ask: Annotated[
            bool | None, typer.Option("--ask/--no-ask", help="Ask for what flags leave open; default: on a terminal.")
        ] = None,
        print_grants: Annotated[
            bool, typer.Option("--print-grants", help="Print the SQL that makes the roles, and write nothing.")
        ] = False,
        force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
        as_json: AsJson = False,
        config: Annotated[
            Path | None, typer.Option("--config", metavar="FILE", help="Where to write; default ./dataswarm.yaml.")
        ] = None,
    ) -> None:
        """Write a commented configuration for your stack, and print the grants it needs."""
        from config.interview import Answers, compose, grants, variables  # noqa: PLC0415 - see the package

        file = target(config)
        if not print_grants:
            _refuse_to_overwrite(file, force)
        answers = Answers(
            warehouse=warehouse,
            reader_variable=reader_variable,
            actor_variable=actor_variable,
            schemas=tuple(schema or ()),
            dbt_project=dbt_project,
            dbt_target=dbt_target,
            dbt_executable=dbt_executable,
            repository=repository,
            branch=branch,
            channels=tuple(_channel(said) for said in channel or ()),
            autonomy=_autonomy(autonomy),
            memory_variable=memory_variable,
            database=database,
            owners=tuple(owner or ()),
            reader_role=reader_role,
            actor_role=actor_role,
        )
        if is_interactive() if ask is None else ask:
            answers = _ask(answers)
        if print_grants:
            sql = grants(answers)
            answer({"grants": sql}, as_json=as_json, show=lambda page: page.line(sql.rstrip()))
            return
        text = compose(answers)
        was_there = file.exists()
        _write(file, text, force=force)
        done = {"file": str(file), "replaced": was_there, "variables": dict(variables(answers))}
        answer(done, as_json=as_json, show=lambda page: _next_steps(page, done))


def _refuse_to_overwrite(file: Path, force: bool) -> None:
    from config.errors import SetupError  # noqa: PLC0415 - see the package

    if file.exists() and not force:
        raise SetupError(f"{file} is there already", hint="--force replaces it; --config FILE writes another one")


def _write(file: Path, text: str, *, force: bool) -> None:
    from config.errors import SetupError  # noqa: PLC0415 - see the package

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror}", hint="--config FILE writes elsewhere") from None


def _channel(said: str) -> ChannelAnswer:
    from config.errors import UsageError  # noqa: PLC0415 - see the package
    from config.interview import ChannelAnswer  # noqa: PLC0415

    name, _, kind = said.partition("=")
    if kind not in ("apprise", "webhook"):
        raise UsageError(f"not a channel: {said[:80]!r}", hint="write NAME=apprise or NAME=webhook")
    prefix = "".join(c if c.isalnum() else "_" for c in name).upper()
    return ChannelAnswer(name, kind, f"{prefix}_CHANNEL_URL", f"{prefix}_CHANNEL_SECRET" if kind == "webhook" else "")


def _autonomy(said: str) -> Any:
    from config.draft import nearest  # noqa: PLC0415 - see the package
    from config.errors import UsageError  # noqa: PLC0415
    from config.policy import Autonomy  # noqa: PLC0415

    known = [level.value for level in Autonomy]
    if said not in known:
        meant = nearest(said, known)
        hint = f"did you mean {meant!r}?" if meant else f"one of {', '.join(known)}"
        raise UsageError(f"not an autonomy: {said[:40]!r}", hint=hint)
    return Autonomy(said)


def _ask(answers: Answers) -> Answers:
    """Ask for each thing, what is there by now as the proposal."""
    schemas = typer.prompt("Schemas to look at, separated by commas (empty: all)", ", ".join(answers.schemas))
    asked = replace(
        answers,
        warehouse=typer.prompt("A name for the warehouse", answers.warehouse),
        reader_variable=typer.prompt("Variable with its address, as a role that only reads", answers.reader_variable),
        actor_variable=typer.prompt("Variable with its address, as the role that repairs", answers.actor_variable),
        schemas=tuple(part.strip() for part in schemas.split(",") if part.strip()),
        dbt_project=typer.prompt("Directory of the dbt project (empty: none)", answers.dbt_project),
        repository=typer.prompt("Git repository with the models (empty: none)", answers.repository),
        autonomy=_autonomy(typer.prompt("How far may the swarm go (observe, propose, act)", answers.autonomy.value)),
    )
    channel = typer.prompt("A way to a human as NAME=apprise or NAME=webhook (empty: none)", "")
    return replace(asked, channels=(*asked.channels, _channel(channel))) if channel.strip() else asked


def _next_steps(page: Page, done: dict[str, Any]) -> None:
    page.line(f"{'replaced' if done['replaced'] else 'wrote'} {done['file']}")
    page.line("next:")
    page.line("  1. set these environment variables:")
    for name, what in done["variables"].items():
        page.line(f"       {name}: {what}")
    page.line("  2. `dataswarm init --print-grants` prints the SQL for the two roles")
    page.line(f"  3. `dataswarm doctor --config {done['file']}` looks at everything")
    page.line(f"  4. `dataswarm up --config {done['file']}` starts the swarm")
