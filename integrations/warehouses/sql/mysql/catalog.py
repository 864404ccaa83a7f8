"""The catalog of a MySQL or MariaDB server: a fixed number of queries, each in autocommit.

In autocommit no metadata lock outlives the query that took it, so nobody's ALTER TABLE waits for us. What several
queries say need not be of one moment, then: the summary of them all is taken before and after, and where the two differ
everything is read again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import DBAPIError

from config.errors import TransientError
from integrations.base import Catalog, Column, Constraint, Grant, Index, NumberSequence, Table
from integrations.warehouses.sql.fingerprints import assembled
from integrations.warehouses.sql.inspected import is_wanted
from integrations.warehouses.sql.mysql.queries import SCHEMATA, Question, questions, summary
from integrations.warehouses.sql.options import SqlOptions
from integrations.warehouses.sql.type_names import normalised

Row = Mapping[str, Any]
_Path = tuple[str, str]

_TRIES = 3
_SKIPPED = 1684  # a table left out of the answer, for somebody is changing its definition
_DENIED = 1142
_SEQUENCES_A_QUERY = 200
_SETTINGS = "start_value, increment, minimum_value, maximum_value, cycle_option"
_KINDS = {"BASE TABLE": "table", "SYSTEM VERSIONED": "table", "VIEW": "view", "SYSTEM VIEW": "view"}


class Reading:
    """One look at a server through one connection in autocommit."""

    def __init__(self, connection: Connection, source: str, options: SqlOptions) -> None:
        self._connection = connection
        self._source = source
        self._options = options
        dialect: Any = connection.dialect
        self._asked = questions(is_mariadb=bool(dialect.is_mariadb), version=_version(dialect))
        schemata = self._rows(SCHEMATA)
        names = [r["name"] for r in schemata]
        self._now = schemata[0]["now"].replace(tzinfo=UTC)
        self._schemas = [n for n in names if is_wanted(n, options)]
        # A database that may not be seen is not listed at all: it cannot be told from one that is gone.
        self._invisible = [n for n in options.named_schemas if n not in names]

    def catalog(self) -> Catalog:
        """Everything; TransientError where the structure changes faster than it can be read."""
        before = self.fingerprint()
        for _ in range(_TRIES):
            answers = {about: self._ask(question) for about, question in self._asked.items()}
            sequences = self._sequences(answers["tables"])
            after = self.fingerprint()
            if after == before:
                tables = _Assembly(answers).tables()
                return assembled(tables, self._now, invisible=self._invisible, sequences=sequences)
            before = after
        raise TransientError(
            f"warehouse {self._source}: its structure changes while it is read", hint="it will be tried again"
        )

    def fingerprint(self) -> str:
        """A hash of the summary."""
        rows = self._rows(summary(self._asked), self._schemas) if self._schemas else []
        parts = [*(f"{r['about']} {r['n']} {r['h']}" for r in rows), *self._schemas, "-", *self._invisible]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _ask(self, question: Question) -> list[Row]:
        if not self._schemas:
            return []
        # information_schema compares names without regard to case.
        wanted = set(self._schemas)
        return [r for r in self._rows(question.sql, self._schemas) if r["table_schema"] in wanted]

    def _rows(self, sql: str, schemas: Sequence[str] = ()) -> list[Row]:
        statement = text(sql)
        if schemas:
            statement = statement.bindparams(bindparam("schemas", value=list(schemas), expanding=True))
        result = self._connection.execute(statement)
        warned = getattr(result.cursor, "warning_count", 0)
        rows: list[Row] = [dict(r) for r in result.mappings()]
        if warned:
            self._heed_warnings()
        return rows

    def _heed_warnings(self) -> None:
        """A broken view is warned of, and kept; a table that was skipped would look as if it were dropped."""
        for row in self._connection.exec_driver_sql("show warnings").all():
            if int(row[1]) == _SKIPPED:
                raise TransientError(
                    f"warehouse {self._source}: a table's definition is being changed", hint="it will be tried again"
                )

    def _sequences(self, tables: Iterable[Row]) -> list[NumberSequence]:
        """MariaDB's sequences, whose settings stand in the sequence itself; empty where it may not be read."""
        paths = [(t["table_schema"], t["table_name"]) for t in tables if t["table_type"] == "SEQUENCE"]
        made: list[NumberSequence] = []
        for start in range(0, len(paths), _SEQUENCES_A_QUERY):
            batch = paths[start : start + _SEQUENCES_A_QUERY]
            sql = " union all ".join(
                f"select {place} as place, {_SETTINGS} from {'.'.join(backticked(name) for name in path)}"
                for place, path in enumerate(batch)
            )
            told = {r["place"]: r for r in self._readable(sql)}
            made += [NumberSequence(*path, _steps(told.get(place))) for place, path in enumerate(batch)]
        return made

    def _readable(self, sql: str) -> list[Row]:
        try:
            result = self._connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
        except DBAPIError as error:
            if error.orig is not None and error.orig.args[:1] == (_DENIED,):
                return []
            raise
        return [dict(r) for r in result.mappings()]


def backticked(name: str) -> str:
    """One identifier in the quotes that hold whatever the server's mode is."""
    return "`" + name.replace("`", "``") + "`"


def _version(dialect: Any) -> tuple[int, ...]:
    return tuple(v for v in dialect.server_version_info if isinstance(v, int))


def _steps(row: Row | None) -> str:
    if row is None:
        return ""
    cycles = " cycle" if row["cycle_option"] else ""
    return (
        f"start {row['start_value']} increment {row['increment']}"
        f" minimum {row['minimum_value']} maximum {row['maximum_value']}{cycles}"
    )


class _Assembly:
    """Rows of several answers put together by table."""

    def __init__(self, answers: Mapping[str, Sequence[Row]]) -> None:
        self._tables = [t for t in answers["tables"] if t["table_type"] != "SEQUENCE"]
        self._rows = {about: _by_table(rows) for about, rows in answers.items()}

    def tables(self) -> list[Table]:
        return [self._table(t) for t in self._tables]

    def _table(self, told: Row) -> Table:
        path = told["table_schema"], told["table_name"]
        view = next(iter(self._of("views", path)), None)
        constraints = self._constraints(path)
        own = {"PRIMARY"} | {c.name for c in constraints if c.kind == "unique"}
        return Table(
            schema=path[0],
            name=path[1],
            columns=tuple(
                _column(c, place)
                for place, c in enumerate(
                    sorted(self._of("columns", path), key=lambda c: c["ordinal_position"]), start=1
                )
            ),
            kind=_KINDS.get(told["table_type"], told["table_type"].lower()),
            rows=-1 if told["table_rows"] is None else int(told["table_rows"]),
            # A view has no comment of its own: the server puts a word there, or what is wrong with it.
            comment="" if view or told["table_type"].endswith("VIEW") else told["table_comment"] or "",
            constraints=tuple(constraints),
            indexes=tuple(i for i in self._indexes(path) if i.name not in own),
            definition=(view["view_definition"] or "") if view else "",
            partitioning=_partitioning(self._of("partitions", path)),
            owner=(view["definer"] or "") if view else "",
            grants=tuple(_grants(self._of("grants", path))),
        )

    def _of(self, about: str, path: _Path) -> Sequence[Row]:
        return self._rows.get(about, {}).get(path, ())

    def _constraints(self, path: _Path) -> list[Constraint]:
        rules = {r["constraint_name"]: r for r in self._of("rules", path)}
        grouped: defaultdict[str, list[Row]] = defaultdict(list)
        for row in sorted(self._of("keys", path), key=lambda r: r["ordinal_position"]):
            # A foreign key may bear the name of a unique one.
            grouped[f"{row['constraint_name']}\0{row['referenced_table_name'] is not None}"].append(row)
        parts = self._parts(path)
        made = [
            _key(rows, parts.get(rows[0]["constraint_name"], ()), rules.get(rows[0]["constraint_name"]))
            for rows in grouped.values()
        ]
        made += [
            Constraint(c["constraint_name"], "check", (), f"check ({c['check_clause']})")
            for c in self._of("checks", path)
        ]
        return sorted(made, key=lambda c: (c.kind, c.name, c.definition))

    def _parts(self, path: _Path) -> Mapping[str, list[Row]]:
        grouped: defaultdict[str, list[Row]] = defaultdict(list)
        for row in sorted(self._of("indexes", path), key=lambda r: r["seq_in_index"]):
            grouped[row["index_name"]].append(row)
        return grouped

    def _indexes(self, path: _Path) -> list[Index]:
        made = []
        for name, rows in sorted(self._parts(path).items()):
            columns = tuple(r["column_name"] or f"({r['expression']})" for r in rows)
            method = rows[0]["index_type"].lower()
            written = ", ".join(_part(r) for r in rows)
            made.append(Index(name, columns, not rows[0]["non_unique"], f"{method} ({written})"))
        return made


def _by_table(rows: Iterable[Row]) -> dict[_Path, list[Row]]:
    found: defaultdict[_Path, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["table_schema"], row["table_name"]].append(row)
    return found


def _column(told: Row, place: int) -> Column:
    extra = (told["extra"] or "").lower()
    expression = told["generation_expression"] or ""
    default = told["column_default"]
    if default == "NULL":  # MariaDB's word for none; a text of these letters it puts in quotes
        default = None
    if default is not None and "on update" in extra:
        default = f"{default} {extra[extra.index('on update') :]}"
    return Column(
        name=told["column_name"],
        position=place,
        type=normalised(_text(told["column_type"]), "mysql"),
        nullable=told["is_nullable"] == "YES",
        default=None if default is None else _text(default),
        comment=told["column_comment"] or "",
        generated=f"{_text(expression)} {'stored' if 'stored' in extra else 'virtual'}" if expression else "",
        numbering="by default" if "auto_increment" in extra else "",
        collation=told["collation_name"] or "",
    )


def _text(value: Any) -> str:
    """MySQL 8 gives some columns of its dictionary as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _key(rows: Sequence[Row], parts: Sequence[Row], rule: Row | None) -> Constraint:
    first = rows[0]
    columns = tuple(r["column_name"] for r in rows)
    listed = ", ".join(backticked(c) for c in columns)
    name = first["constraint_name"]
    if first["referenced_table_name"] is None:
        is_primary = name == "PRIMARY"
        kind, words = ("primary_key", "primary key") if is_primary else ("unique", "unique")
        # Only its index knows of how much of a text the key is made.
        return Constraint(name, kind, columns, f"{words} ({', '.join(_part(p) for p in parts) or listed})")
    path = first["referenced_table_schema"], first["referenced_table_name"]
    referenced = tuple(r["referenced_column_name"] for r in rows)
    to = f"{'.'.join(backticked(p) for p in path)} ({', '.join(backticked(c) for c in referenced)})"
    doing = f" on update {rule['update_rule'].lower()} on delete {rule['delete_rule'].lower()}" if rule else ""
    return Constraint(
        name, "foreign_key", columns, f"foreign key ({listed}) references {to}{doing}", ".".join(path), referenced
    )


def _part(row: Row) -> str:
    name = backticked(row["column_name"]) if row["column_name"] else f"({row['expression']})"
    length = f"({row['sub_part']})" if row["sub_part"] else ""
    return f"{name}{length}{' desc' if row['direction'] == 'D' else ''}"


def _partitioning(rows: Sequence[Row]) -> str:
    """How it is split, not into what: partitions come and go with the days."""
    if not rows:
        return ""
    first = rows[0]
    said = f"{first['partition_method'].lower()} ({first['partition_expression'] or ''})"
    if first["subpartition_method"]:
        said += f" subpartition {first['subpartition_method'].lower()} ({first['subpartition_expression'] or ''})"
    return said


def _grants(rows: Sequence[Row]) -> list[Grant]:
    grouped: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        grouped[row["grantee"]].add(row["privilege_type"].lower())
    return [Grant(role, tuple(sorted(privileges))) for role, privileges in sorted(grouped.items())]
