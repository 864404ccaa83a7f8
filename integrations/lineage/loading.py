"""Files of schemas: YAML, JSON, dbt's catalog, or DDL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from config.errors import UsageError
from integrations.lineage.naming import join_path
from integrations.lineage.projects import read_sql
from integrations.lineage.schema import Columns, Schema
from integrations.lineage.script import read_script
from integrations.lineage.session import Session

FORMS = (
    "write `schema.table: [column, …]` or `schema.table: {column: type}` (the schema may be a level of its own) in "
    "YAML or JSON, give dbt's target/catalog.json, or a .sql file of CREATE TABLE statements"
)


def load_tables(path: Path, *, dialect: str, default_schema: str = "") -> dict[str, Columns]:
    """The tables a file names, with their columns.

    Raises UsageError where the file cannot be read or is of another form, naming the place.
    """
    text = read_sql(path)
    if path.suffix.lower() in (".sql", ".ddl"):
        return _from_ddl(path, text, dialect, default_schema)
    try:
        found = YAML(typ="safe").load(text)  # JSON is YAML
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{path}{line}: {error.problem or 'it cannot be read'}", hint=FORMS) from None
    except (YAMLError, ValueError) as error:
        raise UsageError(f"{path} is neither YAML nor JSON: {error}", hint=FORMS) from None
    if isinstance(found, Mapping) and "nodes" in found and "sources" in found and "metadata" in found:
        return _from_catalog(path, found)
    if not isinstance(found, Mapping):
        raise UsageError(f"{path} holds a {type(found).__name__}, not tables with their columns", hint=FORMS)
    return dict(_tables(path, found, ()))


def _tables(path: Path, found: Mapping[Any, Any], above: tuple[str, ...]) -> Iterator[tuple[str, Columns]]:
    for name, inner in found.items():
        place = (*above, str(name))
        key = ".".join((*(join_path([p]) for p in above), str(name)))
        if isinstance(inner, list) and all(isinstance(c, str) for c in inner):
            yield key, inner
        elif isinstance(inner, list) and all(isinstance(c, Mapping) and isinstance(c.get("name"), str) for c in inner):
            yield key, [c["name"] for c in inner]
        elif isinstance(inner, Mapping) and all(v is None or isinstance(v, (str, int)) for v in inner.values()):
            yield key, {str(column): kind for column, kind in inner.items()}
        elif isinstance(inner, Mapping) and all(isinstance(v, (Mapping, list)) for v in inner.values()):
            yield from _tables(path, inner, place)
        else:
            raise UsageError(f"{path}: {'.'.join(place)} holds no columns", hint=FORMS)


def _from_catalog(path: Path, found: Mapping[str, Any]) -> dict[str, Columns]:
    tables: dict[str, Columns] = {}
    try:
        for raw in (*found["nodes"].values(), *found["sources"].values()):
            about, columns = raw["metadata"], raw["columns"].values()
            ordered = sorted(columns, key=lambda c: c["index"])
            tables[join_path([about["schema"], about["name"]])] = {c["name"]: c["type"] for c in ordered}
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a dbt catalog: {error!r} is missing or wrong", hint=FORMS) from None
    return tables


def _from_ddl(path: Path, text: str, dialect: str, default_schema: str) -> dict[str, Columns]:
    session = Session(Schema({}, dialect=dialect, default_schema=default_schema))
    lineage = read_script(text, session)
    for doubt in lineage.unresolved:
        if doubt.is_unread:
            raise UsageError(f"{path}, {doubt.where}: {doubt.why}", hint=f"is it {dialect}?")
    made = {s.relation: list(s.columns) for s in lineage.statements if s.kind.startswith("create") and s.columns}
    if not made:
        raise UsageError(f"{path} creates no table", hint=FORMS)
    return dict(made)
