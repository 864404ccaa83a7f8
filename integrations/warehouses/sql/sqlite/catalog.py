"""The catalog of a SQLite file: sqlite_master joined with the pragmas as tables, five queries in one transaction.

Views are asked together; only where one of them is broken, and takes the answer along, is each asked alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from integrations.base import Catalog, Column, Constraint, Index, Table
from integrations.warehouses.sql.fingerprints import assembled
from integrations.warehouses.sql.options import SqlOptions
from integrations.warehouses.sql.sqlite.definition import Definition, read_index, read_table, read_view
from integrations.warehouses.sql.type_names import normalised

Row = Mapping[str, Any]
SCHEMA = "main"
_SHADOWS_KNOWN_SINCE = (3, 37, 0)

# One row a definition; an engine's own tables are none of ours.
MASTER = (
    "select type, name, tbl_name, sql from main.sqlite_master where name not like 'sqlite~_%' escape '~' order by 1, 2"
)
_NOW = "select strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now') as now"
_COLUMNS = """
select m.name as of_table, x.cid, x.name, x.type, x."notnull" as required, x.dflt_value as fallback, x.pk, x.hidden
  from main.sqlite_master m join pragma_table_xinfo(m.name, 'main') x
 where m.type = {type} and m.name not like 'sqlite~_%' escape '~' {one} order by m.name, x.cid
"""
_FOREIGN = """
select m.name as of_table, f.id, f.seq, f."table" as parent, f."from" as child_column, f."to" as parent_column,
       f.on_update, f.on_delete
  from main.sqlite_master m join pragma_foreign_key_list(m.name, 'main') f
 where m.type = 'table' order by m.name, f.id, f.seq
"""
_INDEXES = """
select m.name as of_table, l.name, l."unique" as is_unique, l.origin, x.seqno, x.name as column_name
  from main.sqlite_master m join pragma_index_list(m.name, 'main') l join pragma_index_xinfo(l.name, 'main') x
 where m.type = 'table' and x."key" = 1 order by m.name, l.name, x.seqno
"""
# Without one of these words a definition says nothing that the pragmas do not.
_TELLING = re.compile(r"\b(?:check|collate|as|constraint)\b", re.IGNORECASE)
_SHADOWS = "select name from pragma_table_list where schema = 'main' and type = 'shadow'"


@dataclass(frozen=True, slots=True)
class Answers:
    """What the file told, rows by the table they are of.

    Attributes:
        now: by SQLite's clock.
        invisible: schemas configured that a file has not.
        master: every definition.
        columns, foreign, indexes: of the pragmas.
        estimates: of the last ANALYZE.
    """

    now: datetime
    invisible: Sequence[str]
    master: Sequence[Row] = ()
    columns: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    foreign: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    indexes: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    estimates: Mapping[str, int] = field(default_factory=dict)

    def catalog(self) -> Catalog:
        """Put together."""
        return assembled(_Assembly(self).tables(), self.now, invisible=self.invisible)


def read_answers(connection: Connection, options: SqlOptions) -> Answers:
    """Everything in the file; `connection` is inside a transaction."""
    now = datetime.fromisoformat(_rows(connection, _NOW)[0]["now"])
    invisible = [s for s in options.named_schemas if s != SCHEMA]
    if not options.looks_at(SCHEMA):
        return Answers(now, invisible)
    shadows = _shadows(connection)
    master = [m for m in _rows(connection, MASTER) if m["name"] not in shadows]
    columns = _by_table(_rows(connection, _COLUMNS.format(type="'table'", one="")))
    columns |= _columns_of_views(connection, [m["name"] for m in master if m["type"] == "view"])
    foreign, indexes = _by_table(_rows(connection, _FOREIGN)), _by_table(_rows(connection, _INDEXES))
    return Answers(now, invisible, master, columns, foreign, indexes, _estimates(connection))


def read_fingerprint(connection: Connection) -> str:
    """A hash of every definition: all that the catalog says follows from their texts.

    `PRAGMA schema_version` would cost less still, but it counts VACUUM, and another file put in the place of this one
    may well have come to the same number.
    """
    master = [tuple(m.values()) for m in _rows(connection, MASTER)]
    return hashlib.sha256(json.dumps(master).encode()).hexdigest()


def columns_of(connection: Connection, name: str) -> dict[str, str]:
    """The columns of one table or view with their types; none where there is no such."""
    plain = connection.exec_driver_sql(
        "select name, type from pragma_table_xinfo(?, 'main') where hidden <> 1", (name,)
    )
    return {row[0]: normalised(row[1] or "", "sqlite") for row in plain}


def _rows(connection: Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    return [dict(r) for r in connection.exec_driver_sql(sql, parameters).mappings()]


def _columns_of_views(connection: Connection, names: Sequence[str]) -> dict[str, list[Row]]:
    try:
        return _by_table(_rows(connection, _COLUMNS.format(type="'view'", one="")))
    except OperationalError:
        found: dict[str, list[Row]] = {}
        for name in names:
            try:
                found |= _by_table(_rows(connection, _COLUMNS.format(type="'view'", one="and m.name = ?"), (name,)))
            except OperationalError as error:
                if getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR":
                    raise  # locked or interrupted: that says nothing about the view
        return found


def _shadows(connection: Connection) -> set[str]:
    """The tables in which a virtual table keeps its own."""
    if (connection.dialect.server_version_info or ()) < _SHADOWS_KNOWN_SINCE:
        return set()
    return {r["name"] for r in _rows(connection, _SHADOWS)}


def _estimates(connection: Connection) -> dict[str, int]:
    """What the last ANALYZE counted, where there was one."""
    if not _rows(connection, "select 1 as one from main.sqlite_master where name = 'sqlite_stat1'"):
        return {}
    found: dict[str, int] = {}
    for row in _rows(connection, "select tbl as of_table, stat from main.sqlite_stat1"):
        first = str(row["stat"] or "").partition(" ")[0]
        if first.isdigit():
            found[row["of_table"]] = max(int(first), found.get(row["of_table"], 0))
    return found


def _by_table(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["of_table"]].append(row)
    return dict(found)


class _Assembly:
    """Rows of several answers put together by table."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._relations = [m for m in answers.master if m["type"] in ("table", "view")]
        self._index_texts = {m["name"]: m["sql"] or "" for m in answers.master if m["type"] == "index"}
        # SQLite's names know no case.
        self._keys = {name.lower(): _key_columns(told) for name, told in answers.columns.items()}

    def tables(self) -> list[Table]:
        return [self._view(m) if m["type"] == "view" else self._table(m) for m in self._relations]

    def _view(self, told: Row) -> Table:
        columns = tuple(_columns(self._answers.columns.get(told["name"], ()), Definition(), ""))
        return Table(SCHEMA, told["name"], columns, "view", definition=read_view(told["sql"] or ""))

    def _table(self, told: Row) -> Table:
        name, sql = told["name"], told["sql"] or ""
        is_virtual = sql.lstrip()[:14].lower() == "create virtual"
        said = Definition() if is_virtual or not _TELLING.search(sql) else read_table(sql)
        rows = self._answers.columns.get(name, ())
        key = self._keys.get(name.lower(), ())
        return Table(
            schema=SCHEMA,
            name=name,
            columns=tuple(_columns(rows, said, key[0] if len(key) == 1 and not _is_keyed(sql) else "")),
            kind="virtual table" if is_virtual else "table",
            rows=self._answers.estimates.get(name, -1),
            constraints=tuple(self._constraints(name, said, key)),
            indexes=tuple(self._plain_indexes(name)),
        )

    def _constraints(self, name: str, said: Definition, key: tuple[str, ...]) -> list[Constraint]:
        def called(kind: str, columns: Sequence[str]) -> str:
            return said.names.get((kind, tuple(c.lower() for c in columns)), "")

        made = []
        if key:
            made.append(Constraint(called("primary", key), "primary_key", key, f"primary key ({_listed(key)})"))
        for rows in _grouped(self._answers.indexes.get(name, ()), lambda r: r["name"]):
            if rows[0]["origin"] == "u":
                columns = tuple(r["column_name"] for r in rows)
                made.append(Constraint(called("unique", columns), "unique", columns, f"unique ({_listed(columns)})"))
        made += [
            self._reference(rows, called) for rows in _grouped(self._answers.foreign.get(name, ()), lambda r: r["id"])
        ]
        made += [Constraint(n, "check", (c,) if c else (), f"check ({text})") for n, c, text in said.checks]
        return sorted(made, key=lambda c: (c.kind, c.name, c.columns, c.definition))

    def _reference(self, rows: Sequence[Row], called: Callable[[str, Sequence[str]], str]) -> Constraint:
        columns = tuple(r["child_column"] for r in rows)
        parent = rows[0]["parent"]
        told = tuple(r["parent_column"] for r in rows)
        # Columns that are not named are the parent's key, if it is there.
        referenced = self._keys.get(parent.lower(), ()) if None in told else told
        doing = "".join(
            f" {when} {rows[0][rule].lower()}"
            for when, rule in (("on update", "on_update"), ("on delete", "on_delete"))
            if rows[0][rule] != "NO ACTION"
        )
        to = f"{quoted(parent)} ({_listed(referenced)})" if referenced else quoted(parent)
        return Constraint(
            called("foreign", columns),
            "foreign_key",
            columns,
            f"foreign key ({_listed(columns)}) references {to}{doing}",
            f"{SCHEMA}.{parent}",
            referenced,
        )

    def _plain_indexes(self, name: str) -> list[Index]:
        made = []
        for rows in _grouped(self._answers.indexes.get(name, ()), lambda r: r["name"]):
            if rows[0]["origin"] == "c":
                columns, definition = read_index(self._index_texts.get(rows[0]["name"], ""))
                made.append(Index(rows[0]["name"], columns, bool(rows[0]["is_unique"]), definition))
        return sorted(made, key=lambda i: i.name)


def quoted(name: str) -> str:
    """One identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(n) for n in names)


def _grouped(rows: Sequence[Row], by: Callable[[Row], Any]) -> list[list[Row]]:
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[by(row)].append(row)
    return list(found.values())


def _key_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(r["name"] for r in sorted(rows, key=lambda r: r["pk"]) if r["pk"])


def _is_keyed(sql: str) -> bool:
    """Is it WITHOUT ROWID, so that even a lone INTEGER key does not number itself?"""
    return "without rowid" in " ".join(sql.lower().rsplit(")", 1)[-1].split())


def _columns(rows: Sequence[Row], said: Definition, key: str) -> list[Column]:
    """What is hidden from `select *` is no column of ours, but a generated one is not hidden."""
    shown = [r for r in rows if r["hidden"] != 1]
    made = []
    for place, row in enumerate(shown, start=1):
        name, written = row["name"], (row["type"] or "").removesuffix("GENERATED ALWAYS").strip()
        is_row_number = name == key and written.lower() == "integer"
        generated = {2: " virtual", 3: " stored"}.get(row["hidden"], "")
        made.append(
            Column(
                name=name,
                position=place,
                type=normalised(written, "sqlite") or "any",
                nullable=not row["required"] and not is_row_number,
                default=None if generated else row["fallback"],
                generated=f"{said.generated.get(name.lower(), '')}{generated}" if generated else "",
                numbering="by default" if is_row_number else "",
                collation=said.collations.get(name.lower(), ""),
            )
        )
    return made
