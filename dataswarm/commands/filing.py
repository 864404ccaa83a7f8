"""Commands for files: `dataswarm memory ingest|index|export`."""

from __future__ import annotations

import enum
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, command, tell, whoever
from dataswarm.rendering import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from memory.finding.ingest import Filed

Called = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What the folder is called in references; default: its name."),
]


class Level(enum.StrEnum):
    """Who may read it."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


Sensitive = Annotated[Level, typer.Option("--sensitivity", help="At least; a file may say that it is more.")]


def add_to(memory: typer.Typer) -> None:
    """Hang the commands into `memory`."""
    _add_ingest(memory)
    _add_index(memory)
    _add_export(memory)


def _add_ingest(memory: typer.Typer) -> None:
    @command(memory, "ingest", "dataswarm memory ingest docs/runbooks", "dataswarm memory ingest session.jsonl --json")
    def ingest(
        path: Annotated[
            Path, typer.Argument(metavar="PATH", help="A file, or a folder of markdown, text, session logs.")
        ],
        name: Called = None,
        sensitivity: Sensitive = Level.INTERNAL,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Take texts in, cut by their headings. The same file twice changes nothing."""

        async def work(desk: Desk) -> dict[str, Any]:
            from memory.finding import ingest as taking  # noqa: PLC0415 - see the package

            level = await _level(desk, sensitivity)
            return _filed(await taking.ingest(desk.database, path, name=name, sensitivity=level))

        _taken(config, work, as_json=as_json)


def _add_index(memory: typer.Typer) -> None:
    @command(memory, "index", "dataswarm memory index docs/runbooks --name runbooks")
    def index(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of markdown.")],
        name: Called = None,
        sensitivity: Sensitive = Level.INTERNAL,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Follow a folder: what changed there is taken in anew, what is gone there is retracted."""

        async def work(desk: Desk) -> dict[str, Any]:
            from memory.finding import files  # noqa: PLC0415 - see the package

            level = await _level(desk, sensitivity)
            return _filed(await files.index(desk.database, folder, name=name, sensitivity=level))

        _taken(config, work, as_json=as_json)


async def _level(desk: Desk, wanted: Level) -> Any:
    """The level, with the keys at hand where files may be confidential."""
    from dataswarm import beliefs  # noqa: PLC0415 - see the package
    from memory.records import Sensitivity  # noqa: PLC0415

    if wanted is Level.CONFIDENTIAL:
        await beliefs.sealed(desk)
    else:
        beliefs.at_hand(desk)
    return Sensitivity[wanted.name]


def _filed(filed: Sequence[Filed]) -> dict[str, Any]:
    from dataswarm.views import plain  # noqa: PLC0415 - see the package

    return {
        "files": [plain(one) for one in filed],
        "counts": dict(Counter(one.state for one in filed)),
        "sections": sum(one.written for one in filed),
    }


def _taken(config: Path | None, work: Callable[[Desk], Awaitable[dict[str, Any]]], *, as_json: bool) -> None:
    """Take files in, tell what became of each, and end with 1 where one failed."""
    found = tell(config, work, as_json=as_json, show=_show_filed)
    if found["counts"].get("failed"):
        raise typer.Exit(1)


def _show_filed(page: Page, found: dict[str, Any]) -> None:
    if not found["files"]:
        page.line("there is no markdown, text or session log there")
        return
    counts = ", ".join(f"{number} {state}" for state, number in sorted(found["counts"].items()))
    page.line(f"{counts}; {found['sections']} sections written")
    told = [
        (one["path"], one["state"], _remark(one)) for one in found["files"] if one["state"] == "failed" or _remark(one)
    ]
    page.table(("file", "state", "remark"), told)


def _remark(one: dict[str, Any]) -> str:
    parts = [one["error"]] if one["error"] else []
    parts += [f"{one['retired']} sections retracted"] if one["retired"] else []
    parts += [f"{one['left_out']} lines of tools left out"] if one["left_out"] else []
    parts += [f"{number} lines of unknown type {kind!r}" for kind, number in one["unknown"].items()]
    parts += [f"{one['broken']} lines are no JSON"] if one["broken"] else []
    return "; ".join(parts)


def _add_export(memory: typer.Typer) -> None:
    @command(memory, "export", "dataswarm memory export docs/memory")
    def export(
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made when missing.")],
        branch: Annotated[str, typer.Option("--branch", metavar="NAME", help="Facts of this branch.")] = "main",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Write facts and learnings as markdown. What a person edited stands; ours is put beside it as .new."""

        async def work(desk: Desk) -> dict[str, Any]:
            from dataswarm import beliefs  # noqa: PLC0415 - see the package
            from dataswarm.views import plain  # noqa: PLC0415
            from memory.finding import files  # noqa: PLC0415

            done = await files.export(desk.database, folder, branch=branch)
            await beliefs.noted(desk, whoever(""), "export", "memory", f"{len(done)} files of facts and learnings")
            counts = dict(Counter(one.state for one in done))
            return {"files": [plain(one) for one in done], "counts": counts}

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["files"]:
                page.line("memory holds no open facts or learnings yet")
                return
            page.line(", ".join(f"{number} {state}" for state, number in sorted(found["counts"].items())))
            for one in found["files"]:
                if one["state"] == "beside":
                    page.line(f"{one['path']} was edited by hand and stands; ours is {one['ours']}")

        tell(config, work, as_json=as_json, show=show)
