"""The command that shows what the swarm knows of a source's structure, and keeps it under a name: drift baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.drift_history import chosen
from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, command, tell, whoever
from dataswarm.rendering import Page, moment

if TYPE_CHECKING:
    from memory.connection.database import Transaction

_FEW = 20


def add_to(drift: typer.Typer) -> None:
    """Hang the command into `drift`."""

    @command(
        drift,
        "baseline",
        "dataswarm drift baseline shop",
        "dataswarm drift baseline shop --save before-release",
        "dataswarm drift baseline shop --revision 12 --json",
        "dataswarm drift baseline shop --look",
    )
    def baseline(
        source: Annotated[str, typer.Argument(metavar="SOURCE", help="Of which source.")],
        revision: Annotated[
            str, typer.Option("--revision", metavar="N", help="As of then: a number, or a name it was saved under.")
        ] = "",
        save: Annotated[
            str, typer.Option("--save", metavar="NAME", help="Keep this revision for ever, under a name.")
        ] = "",
        look: Annotated[bool, typer.Option("--look", help="Have the agent look now, not at its next time.")] = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What the baseline holds: tables, columns, when, what could not be seen; `--save` keeps it."""

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm.drifting import past, resolving  # noqa: PLC0415 - see the package
            from memory.board import baselines  # noqa: PLC0415

            [name] = chosen(desk, source)
            async with desk.database.transaction() as tx:
                asked = await _look(tx, name, whoever(by)) if look else None
                if look and await baselines.get(tx, resolving.WATCHER, name) is None:
                    return {"name": name, "task": asked, "revision": None}
                number = await resolving.revision_of(tx, name, revision)
                kept = await past.revisions(tx, name, limit=1)
                shown = number if number is not None else kept[0].revision if kept else None
                if save and shown is not None:
                    await baselines.name(tx, resolving.WATCHER, name, shown, save, whoever(by))
                return {**await _held(tx, name, number, shown), "task": asked, "saved": save or None}

        tell(config, work, as_json=as_json, show=_show)


async def _look(tx: Transaction, source: str, by: str) -> int:
    from dataswarm.drifting.resolving import WATCHER  # noqa: PLC0415 - see the package
    from memory.members import capabilities  # noqa: PLC0415

    return await capabilities.ask(tx, WATCHER, "sense", {"source": source}, by=by)


async def _held(tx: Transaction, source: str, number: int | None, shown: int | None) -> dict[str, Any]:
    from dataswarm.drifting import past  # noqa: PLC0415 - see the package
    from dataswarm.drifting.resolving import known  # noqa: PLC0415

    structure = await known(tx, source, number)
    about = next((r for r in await past.revisions(tx, source, limit=1_000) if r.revision == shown), None)
    return {
        "name": source,
        "revision": shown,
        "at": about.at.isoformat() if about else None,
        "names": list(about.names) if about else [],
        "tables": [
            {"table": path, "kind": table.kind, "columns": len(table.columns), "postponed": table.postponed}
            for path, table in sorted(structure.tables.items())
        ],
        "columns": sum(len(table.columns) for table in structure.tables.values()),
        "enumerations": sorted(structure.enumerations),
        "sequences": sorted(structure.sequences),
        "not_visible": sorted(structure.invisible),
        "open": await past.open_keys(tx, source),
    }


def _show(page: Page, found: dict[str, Any]) -> None:
    if found["task"] is not None:
        page.line(f"the agent is asked to look (task {found['task']})")
    if found["revision"] is None and "tables" not in found:
        page.line(f"no baseline of {found['name']} yet: `dataswarm up` takes one at its first look")
        return
    saved = f", saved as {', '.join(found['names'])}" if found["names"] else ""
    tables, when = len(found["tables"]), moment(found["at"])
    page.line(
        f"{found['name']}, revision {found['revision']} of {when}{saved}: {tables} tables, {found['columns']} columns"
    )
    for word, names in (("not visible", found["not_visible"]), ("open changes", found["open"])):
        if names:
            page.line(f"{word}: {', '.join(names)}", style="yellow")
    rows = [(t["table"], t["kind"], t["columns"], t["postponed"] or "") for t in found["tables"][:_FEW]]
    page.table(("table", "kind", "columns", "judgement put off"), rows)
    if tables > _FEW:
        page.line(f"and {tables - _FEW} more; --json has all")
