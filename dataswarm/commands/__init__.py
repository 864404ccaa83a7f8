"""The commands, grouped by what they are for. Importing these modules is cheap; running a command imports the rest."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Hang every command into the program, in the order `--help` lists them."""
    from dataswarm.commands import (  # noqa: PLC0415 - the package would import itself
        answering,
        asking,
        drifting,
        examining,
        founding,
        hearing,
        interviewing,
        keeping,
        lineaging,
        looking,
        playing,
        remembering,
        restraining,
        running,
        working,
    )

    for part in (
        playing,
        interviewing,
        running,
        looking,
        answering,
        restraining,
        examining,
        lineaging,
        drifting,
        remembering,
        keeping,
        asking,
        working,
        hearing,
        founding,
    ):
        part.add(app)
