"""The command line run in this process, with a tree of commands that is made once."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

_tree = cache(typer.main.get_command)


class Runner(CliRunner):
    """Typer makes every command of the program anew for each run, which takes longer than most commands do."""

    def invoke(self, app: typer.Typer, *arguments: Any, **more: Any) -> Result:
        """As Typer's own does, with all commands that were there at the first run."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("typer.testing._get_command", _tree)
            return super().invoke(app, *arguments, **more)
