"""Commands about drift: compare two structures before it happens, read what was told, accept it, keep what was."""

from __future__ import annotations

import typer

from dataswarm.commands import drift_accept, drift_baseline, drift_diff, drift_history
from dataswarm.commands.shared import group


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    drift = group(app, "drift", "Changes of structure: what they would mean, what was seen, what stays.")
    drift_diff.add_to(drift)
    drift_history.add_to(drift)
    drift_accept.add_to(drift)
    drift_baseline.add_to(drift)
