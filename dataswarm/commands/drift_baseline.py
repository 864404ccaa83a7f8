"""The command that shows what is known of a source's structure, keeps it, or has it taken anew: drift baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.drift_history import chosen
from dataswarm.commands.lengths import seconds
from dataswarm.commands.shared import AsJson, By, ConfigFile, Desk, command, tell, whoever
from dataswarm.rendering import Page, moment

if TYPE_CHECKING:
    from pathlib import Path

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
        'dataswarm drift baseline shop --retake --reason "release 7 is the new normal"',
    )
    def baseline(
        source: Annotated[
            str, typer.Argument(metavar="[SOURCE]", help="Of which source; with --retake, of all where none is named.")
        ] = "",
        revision: Annotated[
            str, typer.Option("--revision", metavar="N", help="As of then: a number, or a name it was saved under.")
        ] = "",
        save: Annotated[
            str, typer.Option("--save", metavar="NAME", help="Keep this revision for ever, under a name.")
        ] = "",
        look: Annotated[bool, typer.Option("--look", help="Have the agent look now, not at its next time.")] = False,
        retake: Annotated[
            bool,
            typer.Option("--retake", help="Have what is there now taken as the new baseline; closes what is open."),
        ] = False,
        reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="With --retake: why; kept.")] = "",
        yes: Annotated[bool, typer.Option("--yes", help="With --retake: do not ask whether I mean it.")] = False,
        within: Annotated[
            str, typer.Option("--within", metavar="LENGTH", help="With --retake: wait at most so long.")
        ] = "2m",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What the baseline holds: tables, columns, when, what could not be seen; `--save` keeps it.

        With `--retake` a running service takes it anew; the exit status is 1 where that is not done in time.
        """
        from config.errors import UsageError  # noqa: PLC0415 - see the package

        if retake:
            if revision or save or look:
                raise UsageError("--retake goes alone", hint="look, save or show in another call")
            if not reason.strip():
                raise UsageError("say why it is taken anew", hint='add --reason "…": it is kept with the revision')
            _sure(source, yes=yes)
            _retake(config, source, whoever(by), reason, seconds(within), as_json=as_json)
            return

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm.drifting import past, resolving  # noqa: PLC0415 - see the package
            from memory.board import baselines  # noqa: PLC0415

            name = _one(desk, source)
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


def _one(desk: Desk, source: str) -> str:
    """The source that is meant; the only one where none is named."""
    from config.errors import UsageError  # noqa: PLC0415 - see the package

    names = chosen(desk, source)
    if len(names) != 1:
        known = f"configured are {', '.join(names)}" if names else "no source is configured"
        raise UsageError("of which source?", hint=known)
    return names[0]


def _sure(source: str, *, yes: bool) -> None:
    """Ask on standard error, so that an answer in JSON stays one; whoever cannot be asked has not agreed."""
    of = f"the structure of {source}" if source else "the structure of every source"
    question = (
        f"Take {of} as it is now for the new baseline? Open changes are closed, and nothing of them is told again."
    )
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _retake(config: Path | None, source: str, by: str, reason: str, patience: float, *, as_json: bool) -> None:
    async def work(desk: Desk) -> dict[str, Any]:
        from dataswarm.drifting import retaking  # noqa: PLC0415 - see the package
        from dataswarm.views import plain  # noqa: PLC0415

        names = chosen(desk, source)
        if not source:
            async with desk.database.transaction(durable=False) as tx:
                names = await retaking.of_all(tx, names)
        done = [await retaking.retake(desk.database, n, by=by, reason=reason, patience=patience) for n in names]
        return {"retaken": [plain(one) for one in done], "by": by, "reason": reason}

    found = tell(config, work, as_json=as_json, show=_show_retaken)
    if any(one["state"] != "retaken" for one in found["retaken"]):
        raise typer.Exit(1)


def _show_retaken(page: Page, found: dict[str, Any]) -> None:
    if not found["retaken"]:
        page.line("no source has a baseline yet: `dataswarm up` takes one at its first look")
    for one in found["retaken"]:
        said = {
            "retaken": f"revision {one['revision']} is the baseline now; open changes closed: {len(one['closed'])}",
            "waiting": f"not done yet; the wish stands, and task {one['task']} or the next look fulfils it",
            "unreachable": "it cannot be looked at now; the wish stands, and the first look that succeeds fulfils it",
            "failed": f"task {one['task']} failed: {one['error']}",
        }
        page.line(f"{one['name']}: {said[one['state']]}")


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
