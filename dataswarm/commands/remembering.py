"""Commands that look into memory: search, facts, learnings."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, at_desk, command, group
from dataswarm.rendering import Page, answer, moment

Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")]


class Noun(enum.StrEnum):
    """What can be searched for."""

    OBSERVATION = "observation"
    DECISION = "decision"
    FACT = "fact"
    LEARNING = "learning"


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""
    memory = group(app, "memory", "What the swarm saw, decided, believes and learned.")
    _add_search(memory)
    _add_fact(memory)
    _add_learnings(memory)


def _add_search(memory: typer.Typer) -> None:
    @command(
        memory,
        "search",
        "dataswarm memory search orders renamed",
        'dataswarm memory search "duplicate batch" --noun decision --about "warehouse://shop/raw.*"',
    )
    def search(
        query: Annotated[list[str], typer.Argument(metavar="QUERY", help="Any words.")],
        noun: Annotated[list[Noun] | None, typer.Option("--noun", help="Only these; may be repeated.")] = None,
        about: Annotated[
            str | None, typer.Option("--about", metavar="PATTERN", help="Only about these assets.")
        ] = None,
        limit: Limit = 10,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What fits a question best, best first."""
        from dataswarm import listings  # noqa: PLC0415 - see the package

        asked = " ".join(query)

        async def work(desk: Desk) -> dict[str, Any]:
            nouns = [n.value for n in noun] if noun else None
            found = await listings.search(desk.database, asked, nouns=nouns, subject=about, limit=limit)
            return {"source": desk.source, **found}

        def show(page: Page) -> None:
            if not found["found"]:
                page.line(f"memory holds nothing that fits {asked!r}")
            rows = [(f["reference"], moment(f["at"]), f["kind"], f["subject"], f["text"][:160]) for f in found["found"]]
            page.table(("what", "at", "kind", "about", "words"), rows)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


def _add_fact(memory: typer.Typer) -> None:
    @command(memory, "fact", "dataswarm memory fact warehouse://shop/marts.orders profile.good")
    def fact(
        subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="An asset reference.")],
        predicate: Annotated[str, typer.Argument(metavar="PREDICATE", help="What is held about it.")],
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What is held to be true now, and what was before."""
        from config.assets import Asset  # noqa: PLC0415 - see the package
        from config.draft import nearest  # noqa: PLC0415
        from config.errors import UsageError  # noqa: PLC0415
        from dataswarm import listings  # noqa: PLC0415

        asset = Asset.parse(subject)

        async def work(desk: Desk) -> dict[str, Any]:
            found = await listings.fact(desk.database, asset, predicate)
            if found is not None:
                return {"source": desk.source, **found}
            held = await listings.predicates(desk.database, asset)
            meant = nearest(f"{predicate} of {asset}", held)
            raise UsageError(
                f"nothing is held as {predicate!r} of {asset}",
                hint=f"did you mean {meant!r}?" if meant else "nothing at all is held about it",
            )

        def show(page: Page) -> None:
            page.line(f"{found['predicate']} of {found['subject']} (version {found['version']}, {found['agent']})")
            page.line(json.dumps(found["object"], indent=2, ensure_ascii=False))
            page.title("Versions")
            rows = [(f["version"], moment(f["valid_from"]), f["agent"], f["retracted"]) for f in found["history"]]
            page.table(("version", "since", "agent", "retracted"), rows)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)


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
            return {"source": desk.source, "learnings": found}

        def show(page: Page) -> None:
            if not found["learnings"]:
                page.line("nothing has been learned yet; remedies teach when they work or fail")
            rows = [
                (moment(one["at"]), one["signal"], one["playbook"], one["cause"], one["text"])
                for one in found["learnings"]
            ]
            page.table(("at", "signal", "playbook", "cause", "what"), rows)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=show)
