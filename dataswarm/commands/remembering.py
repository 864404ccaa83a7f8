"""Commands that look into memory: search, learnings, who read what; those that keep it are in `keeping.py`."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from dataswarm.commands import keeping
from dataswarm.commands.shared import AsJson, ConfigFile, Desk, Limit, Within, back, command, group, tell, whoever
from dataswarm.rendering import Page, moment, share


class Noun(enum.StrEnum):
    """What can be searched for."""

    OBSERVATION = "observation"
    DECISION = "decision"
    FACT = "fact"
    LEARNING = "learning"
    NOTE = "note"
    RUNBOOK = "runbook"
    TURN = "turn"


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    memory = group(app, "memory", "What the swarm saw, decided, believes and learned.")
    _add_search(memory)
    _add_learnings(memory)
    _add_who_read(memory)
    keeping.add(app)


def _add_search(memory: typer.Typer) -> None:
    @command(
        memory,
        "search",
        "dataswarm memory search orders renamed",
        'dataswarm memory search "duplicate batch" --noun decision --about "warehouse://shop/raw.*"',
        'dataswarm memory search schema --about "warehouse://shop/raw.payments*" --since 48h --explain',
    )
    def search(
        query: Annotated[list[str] | None, typer.Argument(metavar="QUERY", help="Any words; none: the newest.")] = None,
        noun: Annotated[list[Noun] | None, typer.Option("--noun", help="Only these; may be repeated.")] = None,
        kind: Annotated[
            list[str] | None, typer.Option("--kind", metavar="PATTERN", help="Only these kinds; may be repeated.")
        ] = None,
        about: Annotated[
            str | None, typer.Option("--about", metavar="PATTERN", help="Only about these assets.")
        ] = None,
        by: Annotated[
            list[str] | None, typer.Option("--by", metavar="AGENT", help="Only what these wrote; may be repeated.")
        ] = None,
        since: Within = None,
        branch: Annotated[str, typer.Option("--branch", metavar="NAME", help="As seen on this branch.")] = "main",
        explain: Annotated[bool, typer.Option("--explain", help="Say how each was found.")] = False,
        limit: Limit = 10,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What fits a question best, best first."""
        from dataswarm.recalling import Searching  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await Searching(desk.database, lambda: desk.settings).search(
                " ".join(query or []),
                by=whoever(""),
                nouns=[n.value for n in noun] if noun else None,
                kinds=kind or None,
                subject=about,
                since=await back(desk, since),
                agents=by or None,
                branch=branch,
                limit=limit,
            )

        def show(page: Page, found: dict[str, Any]) -> None:
            asked = found["query"]
            if not found["found"]:
                page.line(f"memory holds nothing that fits {asked!r}" if asked else "memory holds nothing of that kind")
            rows = [(f["reference"], moment(f["at"]), f["kind"], f["subject"], f["text"][:160]) for f in found["found"]]
            page.table(("what", "at", "kind", "about", "words"), rows)
            if found["note"]:
                page.line(found["note"], style="yellow")
            if explain and found["found"]:
                _explain(page, found)

        tell(config, work, as_json=as_json, show=show)


def _explain(page: Page, found: dict[str, Any]) -> None:
    """Which arms looked, how far the vectors reach, and where each item stood in each arm."""
    page.title("How they were found")
    if found["model"]:
        page.line(
            f"by words, and by vectors of {found['model']} ({found['way']}): {share(found['coverage'])} of what was"
            " considered has one; what has none yet keeps the rank its words earned"
        )
    else:
        page.line("the newest, for nothing was asked" if found["way"] == "newest" else "by words alone")
    if found["unsearched"]:
        page.line(f"{found['unsearched']} confidential items passed the filters; their words are not searched")
    page.table(
        ("what", "score", "of it neighbours", "by words", "by vector", "agent", "branch"),
        [
            (
                f["reference"],
                f"{f['score']:.3f}",
                f"{f['neighbours']:.3f}",
                f["words_rank"] or "-",
                f["vector_rank"] or ("no vector" if found["model"] and not f["embedded"] else "-"),
                f["agent"],
                f["branch"],
            )
            for f in found["found"]
        ],
    )


def _add_learnings(memory: typer.Typer) -> None:
    @command(memory, "learnings", "dataswarm memory learnings", "dataswarm memory learnings --playbook patch-model")
    def learnings(
        playbook: Annotated[str | None, typer.Option("--playbook", metavar="NAME", help="Of this one alone.")] = None,
        cause: Annotated[str | None, typer.Option("--cause", metavar="CAUSE", help="Of this cause alone.")] = None,
        signal: Annotated[
            str | None, typer.Option("--signal", metavar="SIGNAL", help="success, failure, pattern, recommendation.")
        ] = None,
        limit: Limit = 50,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What worked and what failed, the newest first."""
        from dataswarm import listings  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            found = await listings.learnings(desk.database, playbook=playbook, cause=cause, signal=signal, limit=limit)
            return {"learnings": found}

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["learnings"]:
                page.line("nothing has been learned yet; remedies teach when they work or fail")
            rows = [
                (moment(one["at"]), one["signal"], one["playbook"], one["cause"], one["text"])
                for one in found["learnings"]
            ]
            page.table(("at", "signal", "playbook", "cause", "what"), rows)

        tell(config, work, as_json=as_json, show=show)


def _add_who_read(memory: typer.Typer) -> None:
    @command(
        memory,
        "who-read",
        "dataswarm memory who-read observation:12",
        'dataswarm memory who-read "fact:owner of warehouse://shop/raw.orders"',
        "dataswarm memory who-read --who pipeline-health --since 24h",
    )
    def who_read(
        reference: Annotated[
            str | None, typer.Argument(metavar="WHAT", help="An item as `memory search` names it; default: anything.")
        ] = None,
        who: Annotated[str | None, typer.Option("--who", metavar="NAME", help="Only this reader.")] = None,
        since: Within = None,
        limit: Limit = 50,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Who read or wrote what and when, the newest first, and which question led to it."""
        from config.errors import UsageError  # noqa: PLC0415 - see the package
        from dataswarm.views import plain  # noqa: PLC0415
        from memory.access import accesses  # noqa: PLC0415

        noun, _, ref = (reference or "").partition(":")
        if reference is not None and not (noun and ref):
            raise UsageError(f"not an item: {reference!r}", hint="write noun:id, as observation:12")

        async def work(desk: Desk) -> dict[str, Any]:
            oldest = await back(desk, since)
            async with desk.database.transaction(durable=False) as tx:
                found = await accesses(tx, who=who, noun=noun or None, ref=ref or None, since=oldest, limit=limit)
            return {"accesses": [plain(access) for access in found]}

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["accesses"]:
                page.line("nobody did, as far as the log goes back")
            rows = [
                (moment(a["at"]), a["who"], a["verb"], f"{a['noun']}:{a['ref']}", a["query"][:80])
                for a in found["accesses"]
            ]
            page.table(("at", "who", "did", "what", "asked"), rows)

        tell(config, work, as_json=as_json, show=show)
