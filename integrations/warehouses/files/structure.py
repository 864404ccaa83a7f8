"""What single files hold: by a Parquet footer, by a CSV header and its first rows, by the first JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from config.errors import SourceError, SwarmError, TransientError
from integrations.duck import Session
from integrations.duck.faults import translate
from integrations.duck.words import literal, pattern
from integrations.warehouses.files.folder import CSV, PARQUET, DataFile

_HALF: Final = "write it under another name and rename it when it is whole"
_FOOTERS: Final = """
select file_name as file, name, repetition_type as repetition, coalesce(num_children, 0) as children,
       duckdb_type as type
  from parquet_schema($1) order by file_name, column_id
"""
_ROWS: Final = "select file_name as file, num_rows as n from parquet_file_metadata($1)"
_DELIMITERS: Final = frozenset(",;\t|")


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of one file, its type as DuckDB names it; empty where the file has no row to tell it by."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Structure:
    """What one file holds. `reading` is how DuckDB must be told to read a CSV file; `rows` is -1 where unknown."""

    columns: tuple[FileColumn, ...]
    rows: int = -1
    reading: str = ""


def read_footers(session: Session, files: Sequence[DataFile]) -> dict[str, Structure]:
    """The structures of Parquet files, by path, in two queries; raises what DuckDB raises."""
    paths = [f.path for f in files]
    elements: dict[str, list[dict[str, Any]]] = {path: [] for path in paths}
    for row in session.rows(_FOOTERS, [[pattern(path) for path in paths]]):
        elements[row["file"]].append(row)
    rows = {r["file"]: int(r["n"]) for r in session.rows(_ROWS, [[pattern(path) for path in paths]])}
    return {path: Structure(_uppermost(found), rows[path]) for path, found in elements.items()}


def read_structure(session: Session, file: DataFile, kind: str, *, sample: int, source: str) -> Structure:
    """The structure of one file; TransientError where it is being written, SourceError where it is broken."""
    if file.is_empty:
        raise TransientError(f"source {source}: {file.label} is empty as yet", hint=_HALF)
    try:
        if kind == PARQUET:
            return read_footers(session, [file])[file.path]
        if kind == CSV:
            return _of_csv(session, file, sample, source)
        described = session.rows(f"describe select * from read_json($1, sample_size={sample})", [pattern(file.path)])
        return Structure(tuple(FileColumn(r["column_name"], r["column_type"]) for r in described))
    except SwarmError:
        raise
    except Exception as error:
        fault = _fault(error, file, kind, source)
        if fault is None:
            raise
        raise fault from None


def _fault(error: Exception, file: DataFile, kind: str, source: str) -> SwarmError | None:
    """What a failure says of the file; None where it says nothing of it (a time-out, memory)."""
    condition, text = type(error).__name__, str(error)
    if condition not in ("InvalidInputException", "IOException", "ConversionException", "SerializationException"):
        return None
    meant = translate(error, source)
    if "Permission denied" in text:
        return type(meant)(f"source {source}: {file.label} may not be read", hint="give this process the right to")
    if kind == PARQUET or meant.retryable or "unexpected end of data" in text:
        return TransientError(f"source {source}: {file.label} is not whole ({kind})", hint=_HALF)
    return SourceError(f"source {source}: {file.label} cannot be read as {kind}", hint="is it broken, or misnamed?")


def _uppermost(elements: Sequence[dict[str, Any]]) -> tuple[FileColumn, ...]:
    """The columns themselves, out of a footer's elements, which are a tree written depth first after its root."""
    columns, place = [], 1
    while place < len(elements):
        element = elements[place]
        columns.append(FileColumn(element["name"], element["type"], element["repetition"] != "REQUIRED"))
        below = element["children"]
        place += 1
        while below:
            below += elements[place]["children"] - 1
            place += 1
    return tuple(columns)


def _of_csv(session: Session, file: DataFile, sample: int, source: str) -> Structure:
    fixed = f", delim={literal(chr(9))}" if ".tsv" in file.path.lower()[-7:] else ""
    query = f"select * from sniff_csv($1, sample_size={sample}, strict_mode=true, quote='\"'{fixed})"
    found = session.rows(query, [pattern(file.path)])[0]
    if len(found["Columns"]) == 1 and _DELIMITERS & set(found["Columns"][0]["name"]):
        # Quotes that never close, or lines of different lengths: the sniffer then takes a line for one column.
        raise SourceError(
            f"source {source}: the lines of {file.label} have different numbers of fields, or quotes do not close",
            hint="quote fields as RFC 4180 says",
        )
    names = [c["name"] for c in found["Columns"]]
    reading = _reading(found)
    columns = [FileColumn(c["name"], c["type"]) for c in found["Columns"]]
    if found["HasHeader"] and all(c.type == "VARCHAR" for c in columns):
        typed = ", ".join(f"{literal(n)}: 'VARCHAR'" for n in names)
        first = f"select 1 as one from read_csv($1, columns={{{typed}}}, {reading}) limit 1"
        if not session.rows(first, [pattern(file.path)]):
            columns = [FileColumn(n, "") for n in names]
    return Structure(tuple(columns), reading=reading)


def _reading(found: dict[str, Any]) -> str:
    def said(value: str) -> str:
        return literal("" if value == "(empty)" else value)

    parts = {
        "auto_detect": "false",
        "strict_mode": "true",
        "delim": said(found["Delimiter"]),
        "quote": said(found["Quote"]),
        "escape": said(found["Escape"]),
        "comment": said(found["Comment"]),
        "skip": str(int(found["SkipRows"])),
        "header": str(bool(found["HasHeader"])).lower(),
    }
    if found["DateFormat"]:
        parts["dateformat"] = literal(found["DateFormat"])
    if found["TimestampFormat"]:
        parts["timestampformat"] = literal(found["TimestampFormat"])
    return ", ".join(f"{name}={value}" for name, value in parts.items())
