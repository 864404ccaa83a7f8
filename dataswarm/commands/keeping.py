"""Commands that keep memory in order: facts and their history, branches; and, in modules beside, files and backups."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from dataswarm.commands import branching, filing, saving
from dataswarm.commands.shared import AsJson, By, Cleared, ConfigFile, Desk, OnBranch, command, tell, whoever
from dataswarm.rendering import Page, moment

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="An asset reference.")]
Predicate = Annotated[str, typer.Argument(metavar="PREDICATE", help="What is held about it.")]


def add(app: typer.Typer) -> None:
    """Hang the commands into the program's `memory`, which stands already."""
    memory = next(group.typer_instance for group in app.registered_groups if group.name == "memory")
    assert memory is not None  # noqa: S101 - found under its name
    _add_fact(memory)
    _add_history(memory)
    _add_assert(memory)
    _add_retract(memory)
    branching.add_to(memory)
    filing.add_to(memory)
    saving.add_to(memory)


def _add_fact(memory: typer.Typer) -> None:
    @command(
        memory,
        "fact",
        "dataswarm memory fact warehouse://shop/marts.orders profile.good",
        "dataswarm memory fact warehouse://shop/marts.orders owner --at 2026-11-17",
        "dataswarm memory fact warehouse://shop/marts.orders owner --branch what-if",
    )
    def fact(
        subject: Subject,
        predicate: Predicate,
        at: Annotated[
            str | None, typer.Option("--at", metavar="TIME", help="What was held then (UTC where no zone is given).")
        ] = None,
        branch: OnBranch = "main",
        confidential: Cleared = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What is held to be true now, or was at a time, and what was before."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return _told(
                await beliefs.fact(
                    desk, subject, predicate, at=beliefs.zoned(at), branch=branch, confidential=confidential,
                    by=whoever(""),
                )
            )  # fmt: skip

        def show(page: Page, found: dict[str, Any]) -> None:
            page.line(f"{found['predicate']} of {found['subject']} (version {found['version']}, {found['agent']})")
            page.line(json.dumps(found["object"], indent=2, ensure_ascii=False))
            page.title("Versions")
            _versions(page, found["history"])

        tell(config, work, as_json=as_json, show=show)


def _told(found: dict[str, Any]) -> dict[str, Any]:
    """`source` says live or demo, as in every answer; where the fact itself comes from is its `origin`."""
    return {**found, "origin": found["source"]}


def _versions(page: Page, history: list[dict[str, Any]]) -> None:
    rows = [
        (
            one["version"],
            moment(one["valid_from"]),
            one["agent"],
            "retracted" if one["retracted"] else json.dumps(one["object"], ensure_ascii=False)[:80],
            one["reason"],
        )
        for one in history
    ]
    page.table(("version", "since", "by", "says", "reason"), rows)


def _add_history(memory: typer.Typer) -> None:
    @command(memory, "history", "dataswarm memory history warehouse://shop/marts.orders owner")
    def history(
        subject: Subject,
        predicate: Predicate,
        branch: OnBranch = "main",
        confidential: Cleared = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Every version of a fact that was written on a branch, the oldest first."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            found = await beliefs.history(
                desk, subject, predicate, branch=branch, confidential=confidential, by=whoever("")
            )
            return {"subject": subject, "predicate": predicate, "history": found}

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["history"]:
                page.line(f"nothing was ever held as {predicate!r} of {subject} on {branch}")
            _versions(page, found["history"])

        tell(config, work, as_json=as_json, show=show)


def _add_assert(memory: typer.Typer) -> None:
    @command(
        memory,
        "assert",
        """dataswarm memory assert warehouse://shop/raw.orders owner '"team-shop"' --expected 2""",
        """dataswarm memory assert warehouse://shop/raw.orders tier 1 --branch what-if --reason "a correction\"""",
    )
    def assert_(
        subject: Subject,
        predicate: Predicate,
        value: Annotated[str, typer.Argument(metavar="JSON", help="What is held, as JSON.")],
        expected: Annotated[
            int | None,
            typer.Option("--expected", min=0, help="Only where this version is there; 0: only where none is."),
        ] = None,
        reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
        confidence: Annotated[float, typer.Option("--confidence", min=0, max=1, help="How sure that is.")] = 1.0,
        branch: OnBranch = "main",
        confidential: Annotated[bool, typer.Option("--confidential", help="It is confidential: seal it.")] = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Hold something to be true: the fact's next version."""
        from config.errors import UsageError  # noqa: PLC0415 - see the package
        from dataswarm import beliefs  # noqa: PLC0415

        try:
            said = json.loads(value)
        except ValueError:
            raise UsageError("the value is not JSON", hint=f"a text is written '\"{value[:40]}\"'") from None

        async def work(desk: Desk) -> dict[str, Any]:
            found = await beliefs.hold(
                desk, subject, predicate, said, expected=expected, reason=reason, confidence=confidence,
                branch=branch, confidential=confidential, by=whoever(by),
            )  # fmt: skip
            return _told(found)

        def show(page: Page, found: dict[str, Any]) -> None:
            page.line(f"{predicate} of {subject}: version {found['version']}")

        tell(config, work, as_json=as_json, show=show)


def _add_retract(memory: typer.Typer) -> None:
    @command(
        memory, "retract", 'dataswarm memory retract warehouse://shop/raw.orders owner --reason "the team is gone"'
    )
    def retract(
        subject: Subject,
        predicate: Predicate,
        reason: Annotated[str, typer.Option("--reason", help="Why it is held no longer.")],
        expected: Annotated[int | None, typer.Option("--expected", min=1, help="Only this version.")] = None,
        branch: OnBranch = "main",
        confidential: Cleared = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Hold a fact no longer. Its history stays."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            found = await beliefs.let_go(
                desk, subject, predicate, reason=reason, expected=expected, branch=branch, confidential=confidential,
                by=whoever(by),
            )  # fmt: skip
            return _told(found)

        tell(
            config, work, as_json=as_json, show=lambda page, _: page.line(f"{predicate} of {subject} is held no longer")
        )
