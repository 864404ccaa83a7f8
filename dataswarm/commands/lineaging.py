"""The command that says what comes from what: lineage, of columns in files of SQL, or of an asset as memory holds it.

For files it needs no database and no configuration.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, command, tell
from dataswarm.rendering import Page, answer

if TYPE_CHECKING:
    from dataswarm.drifting.walking import Tree
    from integrations.lineage import Edge, ProjectLineage, Schema

STDIN = "-"


def add(app: typer.Typer) -> None:
    """Hang the command into the program."""

    @command(
        app,
        "lineage",
        "dataswarm lineage models/*.sql --dialect snowflake --schema columns.yaml",
        "dataswarm lineage sql/ --dialect postgres --schema tables.sql --json",
        "dataswarm lineage target/manifest.json --schema target/catalog.json",
        "dataswarm lineage warehouse://shop/raw.orders#amount --downstream",
    )
    def lineage(
        files: Annotated[
            list[str],
            typer.Argument(
                metavar="FILE…|ASSET",
                help="SQL files, folders of them, a dbt manifest, - for standard input; or an asset the swarm knows.",
            ),
        ],
        dialect: Annotated[
            str, typer.Option("--dialect", metavar="NAME", help="Of the SQL; a manifest says its own.")
        ] = "",
        schema: Annotated[
            Path | None,
            typer.Option(
                "--schema", metavar="FILE", help="Tables and columns: YAML, JSON, DDL, or dbt's catalog.json."
            ),
        ] = None,
        default_schema: Annotated[
            str, typer.Option("--default-schema", metavar="NAME", help="What unqualified tables belong to.")
        ] = "",
        upstream: Annotated[bool, typer.Option("--upstream", help="Of an asset: what it is made from.")] = False,
        downstream: Annotated[bool, typer.Option("--downstream", help="Of an asset: what is made from it.")] = False,
        depth: Annotated[
            int, typer.Option("--depth", min=1, max=20, metavar="N", help="Of an asset: so many steps at most.")
        ] = 20,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Which columns come from which; exit status 1 when a statement cannot be read.

        Of an asset: what it is made from and what is made from it, as the swarm's sources told it.
        """
        if any("://" in name for name in files):
            _of_asset(files, (upstream, downstream), depth, as_json=as_json, config=config)
            return
        if upstream or downstream:
            raise _needs_asset(files)
        found = _read(files, dialect, schema, default_schema)
        data = _as_data(found)
        answer(data, as_json=as_json, show=lambda page: _show(page, found))
        if any(u.is_unread for _, u in found.unresolved):
            raise typer.Exit(1)


def _needs_asset(files: list[str]) -> Exception:
    from config.errors import UsageError  # noqa: PLC0415 - see the package

    return UsageError(
        f"{files[0]} is no asset",
        hint="--upstream and --downstream are asked of warehouse://source/schema.table#column",
    )


def _of_asset(
    names: list[str], directions: tuple[bool, bool], depth: int, *, as_json: bool, config: Path | None
) -> None:
    from config.assets import Asset  # noqa: PLC0415 - see the package
    from config.errors import UsageError  # noqa: PLC0415

    if len(names) > 1:
        raise UsageError("one asset is asked about at a time", hint=f"give {names[0]} alone")
    asset = Asset.parse(names[0])
    wanted = directions if any(directions) else (True, True)

    async def work(desk: Desk) -> dict[str, Any]:
        from dataswarm.drifting import walking  # noqa: PLC0415 - see the package

        found: dict[str, Any] = {"asset": str(asset), "depth": depth}
        async with desk.database.transaction(durable=False) as tx:
            for word, walk, is_wanted in zip(
                ("upstream", "downstream"), (walking.upstream, walking.downstream), wanted, strict=True
            ):
                if is_wanted:
                    found[word] = _tree_data(await walk(tx, asset, depth))
        return found

    tell(config, work, as_json=as_json, show=_show_trees)


def _tree_data(tree: Tree) -> dict[str, Any]:
    return {
        "assets": [str(one) for one in tree.assets],
        "edges": [
            {"asset": str(parent), "next": str(child)} for parent, below in tree.children.items() for child in below
        ],
        "is_cut": tree.is_cut,
        "tree": list(tree.lines()),
    }


def _show_trees(page: Page, found: dict[str, Any]) -> None:
    said = {"upstream": "Made from", "downstream": "Made from it"}
    for word in [word for word in said if word in found]:
        page.title(said[word])
        if not found[word]["assets"]:
            page.line(f"nothing {word} of {found['asset']} is known; a pipeline tells it at its next look")
            continue
        for line in found[word]["tree"]:
            page.line(line)
        if found[word]["is_cut"]:
            page.line(f"and more: {len(found[word]['assets'])} assets in all; --json names them")


def _read(files: list[str], dialect: str, schema: Path | None, default_schema: str) -> ProjectLineage:
    from config.errors import UsageError  # noqa: PLC0415 - see the package
    from integrations.lineage import Schema, manifest, scripts  # noqa: PLC0415
    from integrations.lineage.loading import load_tables  # noqa: PLC0415
    from integrations.lineage.naming import dialect_name  # noqa: PLC0415

    manifests = [f for f in files if f.lower().endswith(".json")]
    if manifests and len(files) > 1:
        raise UsageError("a manifest is read by itself", hint=f"give {manifests[0]} alone")
    found = _json(Path(manifests[0])) if manifests else {}
    spoken = dialect or str((found.get("metadata") or {}).get("adapter_type") or "")
    if not spoken:
        raise UsageError("which SQL is it?", hint="give --dialect postgres, snowflake, bigquery, duckdb, …")
    spoken = dialect_name(spoken)
    tables = load_tables(schema, dialect=spoken, default_schema=default_schema) if schema is not None else {}
    if manifests:
        return manifest(found, tables=tables, dialect=spoken)
    known: Schema = Schema(tables, dialect=spoken, default_schema=default_schema)
    return scripts(_texts(files), schema=known)


def _json(path: Path) -> dict[str, Any]:
    from config.errors import UsageError  # noqa: PLC0415 - see the package
    from integrations.lineage.projects import read_sql  # noqa: PLC0415

    try:
        found = json.loads(read_sql(path))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise UsageError(f"{path} is not a dbt manifest", hint="give target/manifest.json as `dbt compile` writes it")
    return found


def _texts(files: Iterable[str]) -> dict[str, str]:
    from config.errors import UsageError  # noqa: PLC0415 - see the package
    from integrations.lineage.projects import read_sql  # noqa: PLC0415

    texts: dict[str, str] = {}
    for name in files:
        path = Path(name)
        if name == STDIN:
            texts["standard input"] = sys.stdin.read()
        elif path.is_dir():
            inner = sorted(path.rglob("*.sql"))
            if not inner:
                raise UsageError(f"there is no .sql file in {path}")
            texts |= {str(f): read_sql(f) for f in inner}
        else:
            texts[name] = read_sql(path)
    return texts


def _as_data(found: ProjectLineage) -> dict[str, Any]:
    """The stable JSON form: edges of everything, doubts with their place, the order in which files were read."""
    return {
        "edges": [
            {
                "source": {"table": e.source.table, "column": e.source.column or None},
                "target": {"relation": e.target.relation, "column": e.target.column or None},
                "how": e.how,
            }
            for e in sorted(found.edges)
        ],
        "unresolved": [
            {"file": name, "statement": u.statement, "line": u.line, "why": u.why, "unread": u.is_unread}
            for name, u in found.unresolved
        ],
        "read": list(found.parts),
        "circular": list(found.circular),
    }


def _show(page: Page, found: ProjectLineage) -> None:
    """Relation by relation: each column with what it comes from, then what decides the rows."""
    by_relation: dict[str, list[Edge]] = defaultdict(list)
    for edge in sorted(found.edges):
        by_relation[edge.target.relation].append(edge)
    for relation, edges in by_relation.items():
        page.title(relation)
        page.table(("column", "from", "how"), _rows(edges))
    if not by_relation:
        page.line("no column comes from anywhere")
    if found.unresolved:
        page.title("Unresolved")
        for name, doubt in found.unresolved:
            page.line(f"{name}, {doubt.where}: {doubt.why}", style="yellow")
    if found.circular:
        page.line(f"these read one another in a circle: {', '.join(found.circular)}", style="yellow")


def _rows(edges: Iterable[Edge]) -> list[tuple[str, str, str]]:
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for edge in edges:
        source = f"{edge.source.table}.{edge.source.column}" if edge.source.column else f"rows of {edge.source.table}"
        grouped[edge.target.column, edge.how].append(source)
    # The columns first, then the rows: an empty name sorts first, and is of less interest.
    keys = sorted(grouped, key=lambda k: (not k[0], k))
    return [(column or "(rows)", ", ".join(grouped[column, how]), how) for column, how in keys]
