"""The command line: one program, its commands in `dataswarm/commands/`, each module imported lightly.

What a command stands on is imported when it runs, so that `--help` answers at once. Errors of the tree become a
sentence and a hint on standard error: exit status 2 for your mistake, 1 for everything else, 130 for Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dataswarm.guard import strangers

PROGRAM = "dataswarm"


class Polite(TyperGroup):
    """The top of the tree: turns errors raised on purpose into words and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; SwarmError becomes a message, anything else is a bug and keeps its traceback."""
        from config.errors import SwarmError, UsageError  # noqa: PLC0415 - not before the guard has looked

        try:
            return super().invoke(ctx)
        except SwarmError as error:
            typer.echo(f"{PROGRAM}: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None


app = typer.Typer(
    name=PROGRAM,
    cls=Polite,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"max_content_width": 110},
    help="A swarm of agents that watches a data stack and fixes what breaks, with proof.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from dataswarm import __version__  # noqa: PLC0415 - see the module

        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    pass


def _assemble() -> None:
    from dataswarm.commands import register  # noqa: PLC0415 - not before the guard has looked

    if not app.registered_commands:
        register(app)


def _reaching(word: str) -> typer.Typer:
    """The program with nothing but the command meant: making all of them takes longer than most take to run."""
    commands = [command for command in app.registered_commands if command.name == word]
    groups = [group for group in app.registered_groups if group.name == word]
    if not commands and not groups:
        return app
    narrow = copy(app)
    narrow.registered_commands, narrow.registered_groups = commands, groups
    return narrow


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Ends the process with the command's exit status."""
    if problem := strangers():
        sys.stderr.write(f"{PROGRAM}: {problem}\n")
        sys.exit(2)
    _assemble()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _reaching(words[0] if words else "")(args=words, prog_name=PROGRAM)
    except KeyboardInterrupt:
        sys.exit(130)
