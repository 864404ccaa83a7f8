"""Commands that switch an agent off and on for all replicas: `dataswarm agents disable|enable`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, command, tell, whoever
from dataswarm.rendering import Page, moment

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Which one.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is kept with who did it and when.")]


def add_to(agents: typer.Typer) -> None:
    """Hang the commands into `agents`."""
    _add_disable(agents)
    _add_enable(agents)


def _add_disable(agents: typer.Typer) -> None:
    @command(agents, "disable", 'dataswarm agents disable schema-drift --reason "migration tonight"')
    def disable(agent: Name, reason: Why, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Switch an agent off for all replicas, within seconds. What it is doing is finished; nothing new is begun.

        What happens meanwhile waits for it, as long as events are kept. A row holds it: restarts change nothing.
        """
        _switch(agent, on=False, reason=reason, by=by, as_json=as_json, config=config)


def _add_enable(agents: typer.Typer) -> None:
    @command(agents, "enable", 'dataswarm agents enable schema-drift --reason "migration is through"')
    def enable(agent: Name, reason: Why, by: By = "", as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Switch an agent on again: it goes on where it was. What a configuration disables stays off there."""
        _switch(agent, on=True, reason=reason, by=by, as_json=as_json, config=config)


def _switch(agent: str, *, on: bool, reason: str, by: str, as_json: bool, config: ConfigFile) -> None:
    from dataswarm import asks  # noqa: PLC0415 - see the package

    async def work(desk: Desk) -> dict[str, Any]:
        return await asks.switch(desk.database, agent, on=on, reason=reason, by=whoever(by))

    def show(page: Page, found: dict[str, Any]) -> None:
        state = "on" if found["enabled"] else "off"
        if found["is_changed"]:
            page.line(f"{agent} is switched {state} for all replicas")
        else:
            who = f" since {moment(found['at'])}, by {found['by']}: {found['reason']}" if found["by"] else ""
            page.line(f"{agent} is switched {state} already{who}")

    tell(config, work, as_json=as_json, show=show)
