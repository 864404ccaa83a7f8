"""Commands for branches of memory: `dataswarm memory branch …`."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any

import typer

from dataswarm.commands import rehearsing
from dataswarm.commands.shared import AsJson, By, Cleared, ConfigFile, Desk, command, group, tell, whoever
from dataswarm.rendering import Page, moment

Name = Annotated[str, typer.Argument(metavar="NAME", help="The branch.")]


class MergeRule(enum.StrEnum):
    """How conflicts are settled."""

    OURS = "ours"
    THEIRS = "theirs"
    NEWER = "newer"
    HUMAN = "human"


def add_to(memory: typer.Typer) -> None:
    """Hang the commands into `memory`."""
    branch = group(memory, "branch", "Lines of memory: try a belief out, compare, merge or drop it, go back.")
    _add_list(branch)
    _add_fork(branch)
    _add_snapshot(branch)
    _add_diff(branch)
    _add_merge(branch)
    _add_drop(branch)
    _add_rollback(branch)
    rehearsing.add_to(memory)


def _add_list(branch: typer.Typer) -> None:
    @command(branch, "list", "dataswarm memory branch list")
    def list_(as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Branches, named points, and rehearsals on them."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await beliefs.branch_list(desk)

        def show(page: Page, found: dict[str, Any]) -> None:
            rows = [(b["name"], b["state"], b["parent"], b["by"], moment(b["at"])) for b in found["branches"]]
            page.table(("branch", "state", "from", "by", "since"), rows)
            if found["snapshots"]:
                page.title("Points")
                points = [(f"{s['branch']}@{s['name']}", s["by"], moment(s["at"])) for s in found["snapshots"]]
                page.table(("point", "by", "at"), points)
            if found["rehearsals"]:
                page.title("Rehearsals")
                runs = [
                    (r["id"], r["branch"], r["agent"], moment(r["since"]), moment(r["until"]))
                    for r in found["rehearsals"]
                ]
                page.table(("number", "branch", "agent", "from", "to"), runs)

        tell(config, work, as_json=as_json, show=show)


def _add_fork(branch: typer.Typer) -> None:
    @command(
        branch,
        "fork",
        "dataswarm memory branch fork what-if",
        "dataswarm memory branch fork last-week --at 2026-11-13T09:00",
    )
    def fork(
        name: Name,
        parent: Annotated[str, typer.Option("--from", metavar="BRANCH", help="Grown from this one.")] = "main",
        at: Annotated[
            str | None, typer.Option("--at", metavar="POINT", help="From this snapshot or time; default: its tip.")
        ] = None,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Grow a branch; what is written on it stays on it until it is merged."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await beliefs.fork(desk, name, parent=parent, at=at, by=whoever(by))

        tell(config, work, as_json=as_json, show=lambda page, _: page.line(f"{name} grows from {parent}"))


def _add_snapshot(branch: typer.Typer) -> None:
    @command(branch, "snapshot", "dataswarm memory branch snapshot before-the-migration")
    def snapshot(
        name: Annotated[str, typer.Argument(metavar="NAME", help="What the point is called.")],
        of: Annotated[str, typer.Option("--branch", metavar="BRANCH", help="Of this branch.")] = "main",
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Name the tip of a branch as it is now."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await beliefs.snapshot(desk, name, branch=of, by=whoever(by))

        tell(config, work, as_json=as_json, show=lambda page, _: page.line(f"{of}@{name}"))


def _add_diff(branch: typer.Typer) -> None:
    @command(
        branch, "diff", "dataswarm memory branch diff main what-if", "dataswarm memory branch diff main@2026-11-17 main"
    )
    def diff(
        before: Annotated[str, typer.Argument(metavar="POINT", help="branch, branch@snapshot or branch@time.")],
        after: Annotated[str, typer.Argument(metavar="POINT", help="The same.")],
        confidential: Cleared = False,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """What differs between two points of memory."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            found = await beliefs.diff(desk, before, after, confidential=confidential, by=whoever(""))
            return {"differences": found}

        def show(page: Page, found: dict[str, Any]) -> None:
            if not found["differences"]:
                page.line("nothing differs")
            rows = [(d["predicate"], d["subject"], _says(d["before"]), _says(d["after"])) for d in found["differences"]]
            page.table(("what", "of", before, after), rows)

        tell(config, work, as_json=as_json, show=show)


def _says(fact: dict[str, Any] | None) -> str:
    return "-" if fact is None else json.dumps(fact["object"], ensure_ascii=False)[:60]


def _add_merge(branch: typer.Typer) -> None:
    @command(
        branch,
        "merge",
        "dataswarm memory branch merge what-if",
        'dataswarm memory branch merge what-if --theirs "owner of warehouse://shop/raw.orders" --rule ours',
    )
    def merge(
        name: Name,
        into: Annotated[str | None, typer.Option("--into", metavar="BRANCH", help="Its parent, by default.")] = None,
        rule: Annotated[MergeRule, typer.Option("--rule", help="For conflicts; human: leave them.")] = MergeRule.HUMAN,
        ours: Annotated[
            list[str] | None, typer.Option("--ours", metavar="FACT", help="'PREDICATE of SUBJECT': the parent's word.")
        ] = None,
        theirs: Annotated[
            list[str] | None, typer.Option("--theirs", metavar="FACT", help="The same: the branch's word.")
        ] = None,
        confidential: Cleared = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Bring a branch's changes into its parent. Conflicts are listed, and nothing is written while one is left."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await beliefs.merge(
                desk,
                name,
                into=into,
                rule=rule.value,
                ours=ours or (),
                theirs=theirs or (),
                confidential=confidential,
                by=whoever(by),
            )

        def show(page: Page, found: dict[str, Any]) -> None:
            if found["is_done"]:
                page.line(f"{name} is merged: {len(found['written'])} facts written")
                return
            page.line(
                f"nothing was written: {len(found['conflicts'])} conflicts; settle them with --ours, --theirs or --rule"
            )
            rows = [(c["fact"], _says(c["base"]), _says(c["ours"]), _says(c["theirs"])) for c in found["conflicts"]]
            page.table(("fact", "was", "ours", "theirs"), rows)

        found = tell(config, work, as_json=as_json, show=show)
        if not found["is_done"]:
            raise typer.Exit(1)


def _add_drop(branch: typer.Typer) -> None:
    @command(branch, "drop", "dataswarm memory branch drop what-if")
    def drop(name: Name, as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Close a branch without merging it; what was said on it can still be read."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await beliefs.drop(desk, name)

        tell(config, work, as_json=as_json, show=lambda page, _: page.line(f"{name} is dropped"))


def _add_rollback(branch: typer.Typer) -> None:
    @command(
        branch, "rollback", 'dataswarm memory branch rollback main@before-the-migration --reason "it taught nonsense"'
    )
    def rollback(
        to: Annotated[str, typer.Argument(metavar="POINT", help="branch@snapshot or branch@time.")],
        reason: Annotated[str, typer.Option("--reason", help="Why.")],
        confidential: Cleared = False,
        by: By = "",
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Make a branch say what it said at a point, by new versions; nothing is deleted."""
        from dataswarm import beliefs  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            done = await beliefs.roll_back(desk, to, reason=reason, confidential=confidential, by=whoever(by))
            return {"written": done}

        def show(page: Page, found: dict[str, Any]) -> None:
            page.line(f"{len(found['written'])} facts are as they were at {to}")

        tell(config, work, as_json=as_json, show=show)
