"""The command that says what it would mean to go from one structure to another: drift diff."""

from __future__ import annotations

import asyncio
import enum
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, at_desk, command, configured
from dataswarm.rendering import Page, answer

if TYPE_CHECKING:
    from agents.structure.impact import Impact, Uses
    from config.settings import Settings
    from dataswarm.commands.shared import Desk
    from dataswarm.drifting.comparing import Comparison, Weighed
    from dataswarm.drifting.engines import Engines
    from dataswarm.drifting.resolving import Meant
    from dataswarm.drifting.sides import Side

NOT_COMPARED = 3
PATIENCE_SECONDS = 2.0


class Level(enum.StrEnum):
    """From which class of change on the exit status is 1."""

    BREAKING = "breaking"
    RISKY = "risky"
    DATA_LOSS = "data_loss"
    NEVER = "never"


@dataclass(slots=True)
class Question:
    """What was asked for, with what the configuration adds."""

    dialect: str
    default_schema: str
    manifests: Sequence[Path]
    skip: tuple[str, ...]
    config: Path | None
    settings: Settings | None = None
    notes: list[str] = field(default_factory=list)

    def configured(self) -> Settings:
        """The configuration, read when a side is the first to need it."""
        if self.settings is None:
            self.settings = configured(self.config)
        return self.settings

    def sources(self) -> list[str]:
        """The configured names."""
        return sorted(self.configured().sources)


class Progress:
    """Says on standard error what is going on, where it takes longer than one likes to wait without a word."""

    def __init__(self) -> None:
        self._step = ""
        self._said = ""

    def told(self, step: str) -> None:
        """What is being done now."""
        self._step = step

    async def follow(self) -> None:
        """Say it after a while, and again whenever it is something else."""
        while True:
            await asyncio.sleep(PATIENCE_SECONDS)
            if self._step != self._said:
                self._said = self._step
                typer.echo(f"{self._step} …", err=True)


def add_to(drift: typer.Typer) -> None:
    """Hang the command into `drift`."""

    @command(
        drift,
        "diff",
        "dataswarm drift diff shop migrations/ --manifest target/manifest.json",
        "dataswarm drift diff shop@before-release shop --fail-on risky",
        "dataswarm drift diff old.sql new.sql --dialect postgres --markdown",
        "dataswarm drift diff main/manifest.json target/manifest.json --json",
    )
    def diff(
        before: Annotated[
            str, typer.Argument(metavar="BEFORE", help="A source, SOURCE@REVISION, a .sql file or folder, a manifest.")
        ],
        after: Annotated[str, typer.Argument(metavar="AFTER", help="The same.")],
        dialect: Annotated[
            str, typer.Option("--dialect", metavar="NAME", help="Of DDL; that of the other side where it is a source.")
        ] = "",
        default_schema: Annotated[
            str, typer.Option("--default-schema", metavar="NAME", help="What unqualified names of DDL belong to.")
        ] = "",
        manifests: Annotated[
            list[Path] | None,
            typer.Option(
                "--manifest",
                "--against-lineage",
                metavar="FILE",
                help="Who reads it: dbt manifests; else the configured pipelines'.",
            ),
        ] = None,
        fail_on: Annotated[Level, typer.Option("--fail-on", help="Exit status 1 from this class on.")] = Level.BREAKING,
        skip: Annotated[
            list[str] | None, typer.Option("--skip", metavar="PATTERN", help="Leave out tables, over schema.table.")
        ] = None,
        as_markdown: Annotated[bool, typer.Option("--markdown", help="As a comment for a pull request.")] = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What changes, for whom it breaks, and whom it reaches.

        Exit status 0: nothing at or above --fail-on; 1: something is; 2: your mistake; 3: it could not be compared.
        """
        from config.errors import SwarmError, UsageError  # noqa: PLC0415 - see the package
        from dataswarm.drifting import markdown, telling  # noqa: PLC0415

        if as_json and as_markdown:
            raise UsageError("--json and --markdown are two answers", hint="give one of them")
        asked = Question(dialect, default_schema, manifests or (), tuple(skip or ()), config)
        try:
            found = _compared(before, after, asked)
        except UsageError:
            raise
        except SwarmError as error:  # 1 would mean that something was found
            typer.echo(f"dataswarm: {error}", err=True)
            raise typer.Exit(NOT_COMPARED) from None
        for note in asked.notes:
            typer.echo(note, err=True)
        if as_markdown:
            sys.stdout.write(markdown.comment(found, fail_on=fail_on.value))
        else:
            data = telling.as_data(found, fail_on=fail_on.value)
            answer(data, as_json=as_json, show=lambda page: _show(page, found, fail_on))
        if found.fails(fail_on.value):
            raise typer.Exit(1)


def _compared(before: str, after: str, asked: Question) -> Comparison:
    from config.errors import UsageError  # noqa: PLC0415 - see the package
    from dataswarm.drifting.resolving import meant  # noqa: PLC0415

    meanings = [meant(given, asked.sources) for given in (before, after)]
    one, other = meanings
    is_same_file = one.is_file and other.is_file and one.path.resolve() == other.path.resolve()
    if is_same_file or (
        not one.is_file and (one.kind, one.source, one.revision) == (other.kind, other.source, other.revision)
    ):
        raise UsageError(
            "both sides are the same", hint="compare a source with a saved state (SOURCE@REVISION), DDL or a manifest"
        )
    saved = {one.given: _kept(one, asked) for one in meanings if one.kind == "snapshot"}
    return asyncio.run(_answered(meanings, saved, asked))


def _kept(one: Meant, asked: Question) -> Side:
    return at_desk(asked.config, lambda desk: _saved(desk, one, asked))


async def _saved(desk: Desk, one: Meant, asked: Question) -> Side:
    from dataswarm.drifting import resolving  # noqa: PLC0415 - see the package

    asked.settings = desk.settings
    async with desk.database.transaction(durable=False) as tx:
        return await resolving.snapshot(tx, desk.settings, one, _skipped(asked))


def _skipped(asked: Question) -> tuple[str, ...]:
    from dataswarm.drifting.watching import watching  # noqa: PLC0415 - see the package

    return (*asked.skip, *(watching(asked.settings).skip if asked.settings is not None else ()))


async def _answered(meanings: Sequence[Meant], saved: dict[str, Side], asked: Question) -> Comparison:
    from dataswarm.drifting.comparing import compare  # noqa: PLC0415 - see the package
    from dataswarm.drifting.engines import Engines  # noqa: PLC0415
    from dataswarm.drifting.watching import watching  # noqa: PLC0415

    progress = Progress()
    following = asyncio.create_task(progress.follow())
    try:
        with Engines(progress.told) as engines:
            sides = [await _side(one, meanings, saved, asked, engines, progress) for one in meanings]
        source = next((s.source for s in reversed(sides) if s.source), "")
        progress.told("reading lineage")
        uses = await _uses(sides, source, meanings, asked)
        overrides = watching(asked.settings).overrides if asked.settings is not None else ()
        progress.told("comparing")
        return await asyncio.to_thread(compare, *sides, source=source, uses=uses, overrides=overrides)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _side(
    one: Meant,
    meanings: Sequence[Meant],
    saved: dict[str, Side],
    asked: Question,
    engines: Engines,
    progress: Progress,
) -> Side:
    from dataswarm.drifting import resolving  # noqa: PLC0415 - see the package

    progress.told(f"looking at {one.given}")
    skip = _skipped(asked)
    if one.kind == "snapshot":
        return saved[one.given]
    if one.kind == "source":
        return await resolving.live(asked.configured(), one, skip)
    if one.kind == "manifest":
        return await asyncio.to_thread(resolving.manifest, one, skip)
    return await resolving.ddl(engines, one, _dialect(meanings, asked), asked.default_schema, skip)


def _dialect(meanings: Sequence[Meant], asked: Question) -> str:
    from config.errors import UsageError  # noqa: PLC0415 - see the package
    from dataswarm.drifting import resolving  # noqa: PLC0415
    from integrations.lineage.naming import dialect_name  # noqa: PLC0415

    spoken = asked.dialect
    for one in meanings:
        if not spoken and one.source:
            spoken = resolving.dialect_of(asked.configured(), one.source)
        elif not spoken and one.kind == "manifest":
            spoken = resolving.manifest(one, ()).written_by.partition(":")[2]
    if not spoken:
        raise UsageError("which SQL is it?", hint="give --dialect postgres, snowflake, bigquery, duckdb, …")
    return dialect_name(spoken)


async def _uses(sides: Sequence[Side], source: str, meanings: Sequence[Meant], asked: Question) -> Uses | None:
    from agents.structure.known import Structure  # noqa: PLC0415 - see the package
    from agents.structure.views import is_view  # noqa: PLC0415
    from config.errors import UsageError  # noqa: PLC0415
    from dataswarm.drifting import lineages  # noqa: PLC0415

    before, after = sides
    everything = Structure({**after.structure.tables, **before.structure.tables})
    read: list[lineages.Read] = []
    if asked.manifests:
        read = await asyncio.to_thread(lineages.read_files, asked.manifests, everything, source=source)
    elif source and asked.settings is not None:
        read, troubles = await lineages.read_pipelines(asked.settings, everything, source=source)
        asked.notes.extend(troubles)
    declared = [one.path for one in meanings if one.kind == "manifest"]
    if not read and declared:  # a manifest says who reads what it declares; the later one, where both sides are one
        read = await asyncio.to_thread(lineages.read_files, declared[-1:], everything, source=source)
    dialect = ""
    if any(is_view(table) for table in before.structure.tables.values()):
        try:
            dialect = _dialect(meanings, asked)
        except UsageError:
            asked.notes.append("what its views read is not known: --dialect says which SQL they are")
    return await asyncio.to_thread(lineages.uses_of, read, before, after, source=source, dialect=dialect)


def _show(page: Page, found: Comparison, fail_on: Level) -> None:
    for side in (found.before, found.after):
        for note in side.notes:
            page.line(f"{side.given}: {note}", style="yellow")
    if found.not_visible:
        page.line(f"not visible, and not compared: {', '.join(found.not_visible)}", style="yellow")
    if not found.tables:
        page.line(f"nothing changes between {found.before.given} and {found.after.given}")
        return
    for table in found.tables:
        page.title(table.table)
        page.table(("readers", "writers", "change", "rule", "reaches"), [_row(w) for w in table.changes])
        for weighed in table.changes:
            if weighed.impact is not None and (weighed.impact.is_used or weighed.impact.following):
                page.line(f"  {weighed.change.column or table.table}: {_reaches(weighed.impact)}")
    page.line()
    counts = [(w.worst, 1) for w in found.changes]
    said = ", ".join(
        f"{sum(1 for worst, _ in counts if worst is effect)} {effect.value.replace('_', ' ')}"
        for effect in sorted({worst for worst, _ in counts}, key=lambda e: -e.rank)
    )
    verdict = "fails" if found.fails(fail_on.value) else "passes"
    page.line(f"{said}: {verdict} (--fail-on {fail_on.value})", style="bold red" if verdict == "fails" else "green")
    if not found.has_lineage:
        page.line("who reads these tables is not known; --manifest FILE says it")


def _row(weighed: Weighed) -> tuple[Any, ...]:
    from dataswarm.drifting.describing import sentence  # noqa: PLC0415 - see the package

    change, meant = weighed.change, weighed.meaning
    is_known = weighed.impact is not None and (weighed.impact.is_whole or weighed.impact.is_used)
    reach = _count(weighed.impact) if weighed.impact is not None and is_known else "?"
    what = sentence(change.kind, change.column, change.payload)
    return meant.readers.value, meant.writers.value, what, meant.rule, reach


def _count(impact: Impact) -> str:
    number = len({*impact.models, *impact.views, *impact.exposures, *impact.tests})
    return str(number) if number else "nobody"


def _reaches(impact: Impact) -> str:
    parts = (
        ("models", impact.models),
        ("views", impact.views),
        ("exposures", impact.exposures),
        ("owners", impact.owners),
        ("going on by the new name", impact.following),
    )
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names) or "tests alone"
