"""The catalog of any engine, by SQLAlchemy's Inspector.

What a dialect does not implement stays empty. For each schema the Inspector's multi-table methods are asked, so the
number of queries goes with the number of schemas, not tables, as far as the dialect has them (it has none for the
texts of views: those cost one each). A view whose columns cannot be read is kept without them.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.engine.reflection import Inspector, ObjectKind
from sqlalchemy.exc import CompileError, DBAPIError, NoSuchTableError, SQLAlchemyError, UnreflectableTableError
from sqlalchemy.types import TypeEngine

from integrations.base import Catalog, Column, Constraint, Enumeration, Index, NumberSequence, Table
from integrations.warehouses.sql.faults import passes
from integrations.warehouses.sql.fingerprints import assembled
from integrations.warehouses.sql.options import SqlOptions
from integrations.warehouses.sql.type_names import normalised

SYSTEM = frozenset(
    {
        "information_schema",
        "pg_catalog",
        "pg_internal",
        "performance_schema",
        "mysql",
        "sys",
        "system",
        "guest",
        "dbsnmp",
    }
    | {"outln", "xdb", "ctxsys", "mdsys", "wmsys", "audsys", "gsmadmin_internal", "lbacsys", "dvsys", "ojvmsys"}
)
_BROKEN = (DBAPIError, NoSuchTableError, UnreflectableTableError)
_Key = tuple[str | None, str]


def read_catalog(connection: Connection, options: SqlOptions) -> Catalog:
    """Everything in the schemas to look at, as far as the dialect tells."""
    inspector = inspect(connection)
    present = _schemas(inspector)
    wanted = [s for s in present if is_wanted(s, options)]
    tables: list[Table] = []
    enumerations: list[Enumeration] = []
    sequences: list[NumberSequence] = []
    for schema in wanted:
        tables += _Schema(inspector, schema).tables()
        listed = _told(partial(getattr(inspector, "get_enums", _nothing), schema=schema))
        enumerations += [Enumeration(schema, e["name"], tuple(e["labels"])) for e in listed]
        names = _told(partial(inspector.get_sequence_names, schema=schema))
        sequences += [NumberSequence(schema, name, "") for name in names]
    return assembled(
        tables,
        _now(connection),
        invisible=[s for s in options.named_schemas if s not in present],
        enumerations=enumerations,
        sequences=sequences,
    )


def is_wanted(schema: str, options: SqlOptions) -> bool:
    """Is a schema looked at? One of the engine's own only if it is named outright."""
    if schema.casefold() in SYSTEM and schema not in options.named_schemas:
        return False
    return options.looks_at(schema)


def _schemas(inspector: Inspector) -> list[str]:
    names = _told(inspector.get_schema_names)
    return names or list(filter(None, (inspector.default_schema_name,)))


def _now(connection: Connection) -> datetime:
    """The server's clock; where it does not say of which zone, it is taken for UTC."""
    now: Any = connection.execute(select(func.now())).scalar_one()
    read = now if isinstance(now, datetime) else datetime.fromisoformat(str(now))
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _told(ask: Callable[[], Iterable[Any]]) -> list[Any]:
    """What a dialect lists; nothing where it cannot be asked that."""
    try:
        return list(ask())
    except NotImplementedError:
        return []


def _require_broken(error: SQLAlchemyError) -> None:
    """Raise on what says nothing about a view: a cut connection, a time-out."""
    if isinstance(error, DBAPIError) and (error.connection_invalidated or passes(error)):
        raise error


def _nothing(**_: str) -> list[Any]:
    return []


class _Schema:
    """One schema of a reflection."""

    def __init__(self, inspector: Inspector, schema: str) -> None:
        self._inspector = inspector
        self._schema = schema
        self._dialect = inspector.dialect

    def tables(self) -> list[Table]:
        i = self._inspector
        # Without columns there is no catalog; all else may be left out.
        columns: dict[str, Any] = {n: c for (_, n), c in i.get_multi_columns(schema=self._schema).items()}
        views = set(_told(partial(i.get_view_names, schema=self._schema)))
        stored = set(_told(partial(i.get_materialized_view_names, schema=self._schema)))
        columns |= self._columns_of_views(views | stored)
        keys = self._many(i.get_multi_pk_constraint)
        foreign = self._many(i.get_multi_foreign_keys)
        uniques = self._many(i.get_multi_unique_constraints)
        checks = self._many(i.get_multi_check_constraints)
        indexes = self._many(i.get_multi_indexes, ObjectKind.TABLE | ObjectKind.MATERIALIZED_VIEW)
        comments = self._many(i.get_multi_table_comment, ObjectKind.ANY)
        made = []
        for name in [*columns, *((views | stored) - columns.keys())]:
            unique = uniques.get(name) or []
            constraints = _constraints(
                keys.get(name), unique, foreign.get(name) or [], checks.get(name) or [], i.default_schema_name or ""
            )
            own = {c.name for c in constraints}
            is_view = name in views or name in stored
            made.append(
                Table(
                    schema=self._schema,
                    name=str(name),
                    columns=tuple(self._column(c, n) for n, c in enumerate(columns.get(name) or [], start=1)),
                    kind="materialized view" if name in stored else "view" if is_view else "table",
                    comment=(comments.get(name) or {}).get("text") or "",
                    constraints=tuple(constraints),
                    indexes=tuple(_indexes(indexes.get(name) or [], own)),
                    definition=self._definition(name) if is_view else "",
                )
            )
        return made

    def _many(self, ask: Callable[..., Mapping[_Key, Any]], kind: ObjectKind = ObjectKind.TABLE) -> dict[str, Any]:
        return {name: value for (_, name), value in _told(lambda: ask(schema=self._schema, kind=kind).items())}

    def _columns_of_views(self, names: set[str]) -> dict[str, Any]:
        """All at once; one by one where one of them is broken and takes the others along."""
        if not names:
            return {}
        try:
            with self._apart():
                return self._many(self._inspector.get_multi_columns, ObjectKind.ANY_VIEW)
        except _BROKEN as error:
            _require_broken(error)
        found: dict[str, Any] = {}
        for name in sorted(names):
            try:
                with self._apart():
                    found[name] = self._inspector.get_columns(name, schema=self._schema)
            except _BROKEN as error:
                _require_broken(error)
        return found

    def _apart(self) -> contextlib.AbstractContextManager[Any]:
        """Inside a savepoint, so that what fails does not spoil the transaction."""
        bind = self._inspector.bind
        is_safe = isinstance(bind, Connection) and self._dialect.name in ("postgresql", "redshift", "oracle", "mssql")
        return bind.begin_nested() if is_safe and isinstance(bind, Connection) else contextlib.nullcontext()

    def _definition(self, name: str) -> str:
        try:
            with self._apart():
                told = _told(lambda: [self._inspector.get_view_definition(name, schema=self._schema)])
        except _BROKEN as error:
            _require_broken(error)
            return ""
        return "".join(text or "" for text in told).strip().rstrip(";")

    def _column(self, told: Mapping[str, Any], position: int) -> Column:
        computed, identity = told.get("computed") or {}, told.get("identity")
        numbering = "" if identity is None else "always" if identity.get("always") else "by default"
        return Column(
            name=str(told["name"]),
            position=position,
            type=self._type(told["type"]),
            nullable=bool(told.get("nullable", True)),
            default=None if computed or identity is not None else _text(told.get("default")),
            comment=told.get("comment") or "",
            generated=_text(computed.get("sqltext")) or "",
            numbering=numbering or ("by default" if told.get("autoincrement") is True else ""),
            collation=getattr(told["type"], "collation", None) or "",
        )

    def _type(self, type_: TypeEngine[Any]) -> str:
        try:
            return normalised(type_.compile(dialect=self._dialect), self._dialect.name)
        except CompileError:
            return "unknown"


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _constraints(
    key: Mapping[str, Any] | None,
    uniques: Iterable[Mapping[str, Any]],
    foreign: Iterable[Mapping[str, Any]],
    checks: Iterable[Mapping[str, Any]],
    home: str,
) -> list[Constraint]:
    made = []
    if key and key.get("constrained_columns"):
        made.append(Constraint(key.get("name") or "", "primary_key", tuple(key["constrained_columns"])))
    made += [Constraint(u.get("name") or "", "unique", tuple(u["column_names"])) for u in uniques]
    for f in foreign:
        schema = f.get("referred_schema") or home
        made.append(
            Constraint(
                f.get("name") or "",
                "foreign_key",
                tuple(f["constrained_columns"]),
                " ".join(f"{k} {v}" for k, v in sorted((f.get("options") or {}).items()) if v is not None),
                f"{schema}.{f['referred_table']}" if schema else f["referred_table"],
                tuple(f["referred_columns"]),
            )
        )
    made += [Constraint(c.get("name") or "", "check", (), str(c.get("sqltext") or "")) for c in checks]
    return sorted(made, key=lambda c: (c.kind, c.name, c.columns, c.definition))


def _indexes(told: Iterable[Mapping[str, Any]], own: set[str]) -> list[Index]:
    made: defaultdict[str, Index] = defaultdict()
    for i in told:
        name = i.get("name") or ""
        if i.get("duplicates_constraint") or (i.get("unique") and name in own):
            continue
        columns = tuple(str(c) for c in (i.get("expressions") or i["column_names"]) if c is not None)
        options = {k: str(v) for k, v in (i.get("dialect_options") or {}).items() if v}
        definition = " ".join(f"{k}={v}" for k, v in sorted(options.items()))
        made[name] = Index(name, columns, bool(i.get("unique")), definition)
    return [made[name] for name in sorted(made)]
