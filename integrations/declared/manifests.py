"""A dbt manifest as a catalog: what the project says its relations hold, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from config.errors import SourceError, UsageError
from integrations.base import Catalog, Column, Constraint, Node, Project, Table
from integrations.declared.draft import NEVER, catalog

Json = Mapping[str, Any]
_HOLDING: Final = frozenset({"model", "snapshot", "seed", "source"})
_HINT: Final = "give target/manifest.json as `dbt parse` writes it, or the folder it lies in"


def load_manifest(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A manifest and the catalog.json beside it, if there is one; `path` is the file, or the folder it lies in.

    Raises:
        UsageError: there is none, or it is not a manifest.
    """
    file = path
    if path.is_dir():
        file = next((f for f in (path / "manifest.json", path / "target" / "manifest.json") if f.is_file()), path)
        if file is path:
            raise UsageError(f"there is no manifest.json in {path}", hint=_HINT)
    found = _json(file)
    if not isinstance(found.get("metadata"), dict) or not isinstance(found.get("nodes"), dict):
        raise UsageError(f"{file} is not a dbt manifest", hint=_HINT)
    beside = file.with_name("catalog.json")
    return found, _json(beside) if beside.is_file() else None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        line = getattr(error, "lineno", 1)
        raise UsageError(f"{file}, line {line}: this is not JSON", hint=_HINT) from None
    if not isinstance(found, dict):
        raise UsageError(f"{file} is not a dbt manifest", hint=_HINT)
    return found


def catalog_of_manifest(manifest: Json, catalog_json: Json | None = None, *, contracts_only: bool = False) -> Catalog:
    """What a project declares.

    Args:
        manifest: as dbt writes it.
        catalog_json: what the warehouse held when it was written; supplies types and columns nobody documented.
        contracts_only: only models whose contract is enforced; else whatever has a documented column.

    Raises:
        SourceError: the manifest is of another shape.
    """
    try:
        tables = list(_tables(manifest, catalog_json or {}, contracts_only=contracts_only))
        return catalog(tables, taken_at=_time(manifest))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"this is not a dbt manifest: {type(error).__name__} at {error}", hint=_HINT) from None


def _time(manifest: Json) -> datetime:
    said = str(manifest["metadata"].get("generated_at") or "")
    return datetime.fromisoformat(said) if said else NEVER


def _tables(manifest: Json, catalog_json: Json, *, contracts_only: bool) -> Iterator[Table]:
    seen = {**(catalog_json.get("nodes") or {}), **(catalog_json.get("sources") or {})}
    relations = _relations(manifest)
    for node in _nodes(manifest):
        config = node.get("config") or {}
        if node["resource_type"] not in _HOLDING or config.get("materialized") == "ephemeral":
            continue
        is_held = bool((config.get("contract") or node.get("contract") or {}).get("enforced"))
        if contracts_only and not is_held:
            continue
        held = {} if contracts_only else (seen.get(node["unique_id"]) or {}).get("columns") or {}
        columns = _columns(node, held, is_held=is_held)
        if not columns:
            continue
        keys = tuple(_constraints(node, relations)) if is_held else ()
        required = {name for key in keys if key.kind == "primary_key" for name in key.columns}
        yield Table(
            schema=str(node["schema"]),
            name=str(node["identifier"] if node["resource_type"] == "source" else node["alias"]),
            columns=tuple(_required(c) if c.name in required else c for c in columns),
            kind="view" if config.get("materialized") == "view" else "table",
            comment=str(node.get("description") or ""),
            constraints=keys,
            owner=str((config.get("meta") or node.get("meta") or {}).get("owner") or ""),
        )


def _nodes(manifest: Json) -> Iterator[Json]:
    yield from manifest["nodes"].values()
    yield from (manifest.get("sources") or {}).values()


def _columns(node: Json, held: Json, *, is_held: bool) -> list[Column]:
    said = {str(name).lower(): column for name, column in (node.get("columns") or {}).items()}
    names: dict[str, str] = {}
    for column in sorted(held.values(), key=lambda c: int(c.get("index") or 0)):
        names.setdefault(str(column["name"]).lower(), str(column["name"]))
    for column in said.values():
        names.setdefault(str(column["name"]).lower(), str(column["name"]))
    types = {str(c["name"]).lower(): str(c.get("type") or "") for c in held.values()}
    return [
        Column(
            name=name,
            position=place,
            type=types.get(folded) or str((said.get(folded) or {}).get("data_type") or "").lower(),
            nullable=not (is_held and _is_required(said.get(folded) or {})),
            comment=str((said.get(folded) or {}).get("description") or ""),
        )
        for place, (folded, name) in enumerate(names.items(), 1)
    ]


def _required(column: Column) -> Column:
    return Column(column.name, column.position, column.type, nullable=False, comment=column.comment)


def _is_required(column: Json) -> bool:
    return any(c.get("type") in ("not_null", "primary_key") for c in column.get("constraints") or ())


def _constraints(node: Json, relations: Mapping[str, str]) -> Iterator[Constraint]:
    for column in (node.get("columns") or {}).values():
        for said in column.get("constraints") or ():
            yield from _constraint(said, (str(column["name"]),), relations)
    for said in node.get("constraints") or ():
        yield from _constraint(said, tuple(str(c) for c in said.get("columns") or ()), relations)


def _constraint(said: Json, columns: tuple[str, ...], relations: Mapping[str, str]) -> Iterator[Constraint]:
    kind, name, expression = str(said.get("type")), str(said.get("name") or ""), str(said.get("expression") or "")
    if kind in ("primary_key", "unique"):
        words = "PRIMARY KEY" if kind == "primary_key" else "UNIQUE"
        yield Constraint(name, kind, columns, f"{words} ({', '.join(columns)})")
    elif kind == "check":
        yield Constraint(name, kind, columns, f"CHECK ({expression})")
    elif kind == "foreign_key":
        other = str(said.get("to") or "")
        target = relations.get(other, other.replace('"', "").replace("`", "") or expression)
        to = tuple(str(c) for c in said.get("to_columns") or ())
        shown = f"{target}({', '.join(to)})" if to else target
        yield Constraint(name, kind, columns, f"FOREIGN KEY ({', '.join(columns)}) REFERENCES {shown}", target, to)


def _relations(manifest: Json) -> dict[str, str]:
    """`schema.table` by what a constraint may call a relation: its quoted name, or its node."""
    found: dict[str, str] = {}
    for node in _nodes(manifest):
        if node["resource_type"] in _HOLDING:
            path = _path(node)
            found |= {str(node["unique_id"]): path, str(node.get("relation_name") or path): path}
    return found


def _path(node: Json) -> str:
    name = node["identifier"] if node["resource_type"] == "source" else node.get("alias") or node["name"]
    return f"{node['schema']}.{name}"


def project_of_manifest(manifest: Json, *, warehouse: str = "") -> Project:
    """Who builds and who reads, with their owners; `warehouse` is what the relations' source is called.

    Raises:
        SourceError: the manifest is of another shape.
    """
    try:
        nodes = {}
        raws: Sequence[Json] = (*_nodes(manifest), *(manifest.get("exposures") or {}).values())
        for raw in raws:
            config = raw.get("config") or {}
            is_held = raw["resource_type"] in _HOLDING and config.get("materialized") != "ephemeral"
            nodes[str(raw["unique_id"])] = Node(
                id=str(raw["unique_id"]),
                kind=str(raw["resource_type"]),
                name=str(raw["name"]),
                relation=_path(raw) if is_held else "",
                depends_on=tuple((raw.get("depends_on") or {}).get("nodes") or ()),
                test=str((raw.get("test_metadata") or {}).get("name") or ""),
                column=str(raw.get("column_name") or ""),
                owner=_owner(raw),
            )
        return Project(str(manifest["metadata"].get("project_name") or "project"), warehouse, nodes)
    except (KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"this is not a dbt manifest: {type(error).__name__} at {error}", hint=_HINT) from None


def _owner(raw: Json) -> str:
    config = raw.get("config") or {}
    meta = {**(raw.get("meta") or {}), **(config.get("meta") or {})}
    owner = raw.get("owner") or {}
    said = owner.get("email") or owner.get("name") if isinstance(owner, Mapping) else owner
    return str(meta.get("owner") or said or "")
