"""The commands, grouped by what they are for. Importing these modules is cheap; running a command imports the rest."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Hang every command into the program, in the order `--help` lists them."""
    from dataswarm.commands import looking, running  # noqa: PLC0415 - the package would import itself

    running.add(app)
    looking.add(app)
