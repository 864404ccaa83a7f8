"""The table that files make together: all their columns by name, and the view that reads them so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from integrations.duck import Session, quoted
from integrations.duck.words import literal, pattern
from integrations.warehouses.files.folder import CSV, JSON, PARQUET, FileTable
from integrations.warehouses.files.structure import FileColumn, Structure

_TEXT: Final = "VARCHAR"
_FUNCTIONS: Final = {PARQUET: "read_parquet", CSV: "read_csv", JSON: "read_json"}
_NUMBERS: Final = frozenset(
    {
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BIGNUM"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    }
)
_WHOLE: Final = re.compile(r"[+-]?\d{1,18}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Union:
    """The columns of a table in their order, types as DuckDB names them; and the number of rows, -1 where unknown."""

    columns: tuple[FileColumn, ...]
    rows: int


def unite(session: Session, table: FileTable, structures: Mapping[str, Structure]) -> Union:
    """All columns of all files by name; one that a file lacks is nullable, one typed differently takes what fits both.

    Names are told apart without their case, as DuckDB does; the spelling of the first file holds.
    """
    types: dict[str, list[str]] = {}
    seen: dict[str, list[FileColumn]] = {}
    for structure in structures.values():
        for column in structure.columns:
            seen.setdefault(column.name.lower(), []).append(column)
    for name, columns in seen.items():
        types[name] = list(dict.fromkeys(c.type for c in columns if c.type)) or [_TEXT]
    keys = _partition_types(table)
    united = _common(session, types)
    columns = [
        FileColumn(found[0].name, united[name], nullable=len(found) < len(structures) or any(c.nullable for c in found))
        for name, found in seen.items()
        if name not in keys
    ]
    counts = [s.rows for s in structures.values()]
    return Union((*columns, *keys.values()), -1 if min(counts, default=-1) < 0 else sum(counts))


def view(schema: str, table: FileTable, structures: Mapping[str, Structure], union: Union) -> str:
    """The statement that makes the table's view: files read alike are read together."""
    alike: dict[tuple[tuple[FileColumn, ...], str], list[str]] = {}
    for path, structure in structures.items():
        alike.setdefault((structure.columns, structure.reading), []).append(path)
    wanted = {c.name.lower(): c for c in union.columns}
    reads = [_read(table, columns, reading, paths, wanted) for (columns, reading), paths in alike.items()]
    order = ", ".join(quoted(c.name) for c in union.columns)
    return f"create view {quoted(schema, table.name)} as select {order} from ({' union all by name '.join(reads)})"


def _read(
    table: FileTable,
    columns: Sequence[FileColumn],
    reading: str,
    paths: Sequence[str],
    wanted: Mapping[str, FileColumn],
) -> str:
    keys = {key.lower() for key in table.keys}
    arguments = [f"[{', '.join(literal(pattern(path)) for path in paths)}]"]
    if table.format != PARQUET:
        typed = ", ".join(f"{literal(c.name)}: {literal(c.type or _TEXT)}" for c in columns)
        arguments.append(f"columns={{{typed}}}")
    arguments += [reading] if reading else []
    arguments.append(f"hive_partitioning={str(bool(keys)).lower()}")
    if keys:
        typed = ", ".join(f"{literal(key)}: {wanted[key.lower()].type}" for key in table.keys)
        arguments.append(f"hive_types={{{typed}}}")
    chosen = [
        f"cast({quoted(c.name)} as {wanted[c.name.lower()].type}) as {quoted(wanted[c.name.lower()].name)}"
        for c in columns
        if c.name.lower() not in keys
    ]
    chosen += [quoted(key) for key in table.keys]
    return f"select {', '.join(chosen)} from {_FUNCTIONS[table.format]}({', '.join(arguments)})"


def _partition_types(table: FileTable) -> dict[str, FileColumn]:
    """The type of each partition key, by what all its folders say."""
    found = {}
    for place, key in enumerate(table.keys):
        values = {file.partition[place][1] for file in table.files}
        said = [v for v in values if v is not None]
        kind = _TEXT
        if said and all(_WHOLE.fullmatch(v) for v in said):
            kind = "BIGINT"
        elif said and all(_DAY.fullmatch(v) for v in said):
            kind = "DATE"
        found[key.lower()] = FileColumn(key, kind, nullable=None in values)
    return found


def _common(session: Session, types: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The type that takes all of a column's; text where they have nothing in common."""
    found = {}
    for name, kinds in types.items():
        if len(kinds) == 1:
            found[name] = kinds[0]
        elif len({_family(kind) for kind in kinds}) > 1:
            found[name] = _TEXT
        else:
            united = " union all ".join(f"select null::{kind} as c" for kind in kinds)
            found[name] = session.rows(f"describe {united}")[0]["column_type"]
    return found


def _family(kind: str) -> str:
    """Types of one family can be turned into one another without losing what they say."""
    if kind.endswith("]"):
        return "list"
    base = kind.partition("(")[0]
    if base in _NUMBERS:
        return "number"
    return "time" if base == "DATE" or base.startswith("TIMESTAMP") else base
