"""The command that reads what was told of a source's structure: drift history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, back, command, tell
from dataswarm.rendering import Page, moment

if TYPE_CHECKING:
    from dataswarm.drifting.past import Told
    from memory.board.baselines import Revision

NOTHING_YET = "no baseline of {} yet: `dataswarm up` takes one at its first look"


def add_to(drift: typer.Typer) -> None:
    """Hang the command into `drift`."""

    @command(
        drift,
        "history",
        "dataswarm drift history",
        "dataswarm drift history shop --since 7d",
        "dataswarm drift history shop --json",
    )
    def history(
        source: Annotated[str, typer.Argument(metavar="[SOURCE]", help="This one alone.")] = "",
        since: Annotated[
            str | None, typer.Option("--since", metavar="LENGTH", help="No older than: 12h, 7d, 2w.")
        ] = None,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Revisions of the baseline, and the changes told: their class, whom they reach, open, undone or accepted."""

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm.drifting import past  # noqa: PLC0415 - see the package

            after = await back(desk, since)
            found = []
            async with desk.database.transaction(durable=False) as tx:
                for name in chosen(desk, source):
                    kept = await past.revisions(tx, name)
                    said = await past.told(tx, name, since=after)
                    if kept or said or source:
                        found.append(_history(name, kept, said))
            return {"sources": found}

        tell(config, work, as_json=as_json, show=_show)


def chosen(desk: Desk, source: str) -> list[str]:
    """The source that is meant, all of them where none is named.

    Raises:
        UsageError: none is called so; names the nearest.
    """
    from config.draft import nearest  # noqa: PLC0415 - see the package
    from config.errors import UsageError  # noqa: PLC0415

    names = sorted(desk.settings.sources)
    if not source or source in names:
        return [source] if source else names
    near = nearest(source, names)
    known = f"configured are {', '.join(names)}" if names else "no source is configured"
    raise UsageError(f"there is no source {source!r}", hint=f"did you mean {near!r}?" if near else known)


def _history(name: str, kept: list[Revision], said: list[Told]) -> dict[str, Any]:
    from dataswarm.views import plain  # noqa: PLC0415 - see the package

    changes = [{**plain(one), "class": plain(one.effects)} for one in said]
    for one in changes:
        del one["effects"]
    return {"name": name, "revisions": [plain(one) for one in kept], "changes": changes}


def _show(page: Page, found: dict[str, Any]) -> None:
    if not found["sources"]:
        page.line("no baseline yet: `dataswarm up` takes one at its first look")
    for source in found["sources"]:
        page.title(source["name"])
        if not source["revisions"]:
            page.line(NOTHING_YET.format(source["name"]))
        rows = [
            (r["revision"], moment(r["at"]), r["changed"], r["note"], ", ".join(r["names"]))
            for r in source["revisions"]
        ]
        page.table(("revision", "at", "parts changed", "about", "saved as"), rows)
        page.line()
        if not source["changes"]:
            page.line("no change was told")
        page.table(("change", "at", "where", "what", "class", "reaches", "state", "explained by"), _rows(source))
        if any(change["state"] == "open" for change in source["changes"]):
            page.line(f"`dataswarm drift accept {source['name']} CHANGE --reason …` says that one stays")


def _rows(source: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            change["id"],
            moment(change["at"]),
            change["subject"].split("/", 3)[-1],
            change["summary"],
            "/".join(dict.fromkeys(str(change["class"][k]) for k in ("readers", "writers") if k in change["class"])),
            _reached(change["impact"]),
            change["state"],
            change["explained_by"].get("by"),
        )
        for change in source["changes"]
    ]


def _reached(impact: dict[str, Any]) -> str:
    """How many models and exposures; names are bounded where a change was told, so that a count stands beside them."""
    if not impact:
        return ""
    count = sum(_count(impact, word) for word in ("models", "views", "exposures"))
    if not count and impact.get("whole") is False:
        return "?"
    return str(count) if count else "nobody"


def _count(impact: dict[str, Any], word: str) -> int:
    said = impact.get(word)
    if isinstance(said, dict):
        return int(said.get("count") or 0)
    counts = impact.get("counts")
    return int(counts[word]) if isinstance(counts, dict) and word in counts else len(said or ())
