"""How a dialect's names and types are written in a catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlglot import exp
from sqlglot.dialects.dialect import NormalizationStrategy

from integrations.declared.draft import Key
from integrations.lineage.naming import Naming

_SCHEMAS: Final[Mapping[str, str]] = {
    "postgres": "public",
    "redshift": "public",
    "duckdb": "main",
    "sqlite": "main",
    "tsql": "dbo",
    "snowflake": "PUBLIC",
}
# As PostgreSQL's own catalog writes them, so that what is declared reads like what is there.
_POSTGRES: Final[Mapping[str, str]] = {
    "int": "integer",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "decimal": "numeric",
    "double": "double precision",
    "float": "double precision",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "bool": "boolean",
}
_SERIALS: Final[Mapping[str, str]] = {"smallserial": "smallint", "serial": "integer", "bigserial": "bigint"}
_PARTS = re.compile(r"^([a-z_ ]+?)\s*(\([^)]*\))?((?:\[[^\]]*\])*)$")


@dataclass(slots=True)
class Spelling:
    """The spelling of one dialect; `default_schema` is what an unqualified name belongs to, and moves with `USE`."""

    naming: Naming
    default_schema: str = ""

    def __post_init__(self) -> None:
        """Settle on the engine's own default schema where none is given."""
        self.default_schema = self.default_schema or _SCHEMAS.get(self.naming.name, "default")

    @property
    def dialect(self) -> str:
        """The dialect's name."""
        return self.naming.name

    def name(self, identifier: exp.Expr | str) -> str:
        """A name as it is shown: folded where the engine folds it, else as it is written."""
        if isinstance(identifier, str):
            return identifier
        is_quoted = bool(identifier.args.get("quoted"))
        strategy = self.naming.dialect.normalization_strategy
        if not is_quoted and strategy is NormalizationStrategy.LOWERCASE:
            return identifier.name.lower()
        if not is_quoted and strategy is NormalizationStrategy.UPPERCASE:
            return identifier.name.upper()
        return identifier.name

    def column(self, node: exp.Expr) -> str:
        """The name of a column, however it is wrapped."""
        found = node if isinstance(node, exp.Identifier) else node.find(exp.Identifier)
        return self.name(found) if found is not None else node.name

    def shown(self, table: exp.Expr) -> tuple[str, str]:
        """Schema and name of a table."""
        named = table if isinstance(table, exp.Table) else table.find(exp.Table)
        assert named is not None  # noqa: S101 - every statement read here names one
        schema = named.args.get("db")
        return (self.name(schema) if schema is not None else self.default_schema), self.name(named.this)

    def key(self, table: exp.Expr) -> Key:
        """What two spellings of one table have in common."""
        return self.fold(*self.shown(table))

    def fold(self, schema: str, name: str) -> Key:
        """The same of names as they are shown."""
        strategy = self.naming.dialect.normalization_strategy
        if strategy in (NormalizationStrategy.CASE_INSENSITIVE, NormalizationStrategy.CASE_INSENSITIVE_UPPERCASE):
            return schema.lower(), name.lower()
        return schema, name

    def text(self, node: exp.Expr) -> str:
        """An expression in the dialect."""
        return node.sql(dialect=self.naming.name, comments=False)

    def type(self, kind: exp.Expr | None) -> str:
        """A type as a catalog writes it; empty where none is declared."""
        if kind is None:
            return ""
        if isinstance(kind, exp.DataType) and kind.this == exp.DType.USERDEFINED:
            own = kind.args.get("kind")
            parts = list(own.find_all(exp.Identifier)) if isinstance(own, exp.Expr) else []
            return ".".join(self.name(p) for p in parts) if parts else str(own or "")
        if self.naming.name == "clickhouse":
            return self.text(kind)
        written = self.text(kind).lower()
        return postgres_type(written) if self.naming.name == "postgres" else written


def postgres_type(written: str) -> str:
    """`varchar(50)` as `character varying(50)`, and so on."""
    parts = _PARTS.match(written)
    if parts is None:
        return written
    base, size, arrays = parts[1], (parts[2] or "").replace(" ", ""), "[]" * (parts[3] or "").count("[")
    if base == "char" and not size:
        size = "(1)"
    plain = _POSTGRES.get(base, base)
    head, gap, rest = plain.partition(" ")
    # The precision of a time stands in the middle: `timestamp(3) with time zone`.
    inner = head in ("timestamp", "time") and bool(size)
    return (f"{head}{size}{gap}{rest}" if inner else f"{plain}{size}") + arrays


def serial(written: str) -> str:
    """The type behind PostgreSQL's `serial`, empty for every other type."""
    return _SERIALS.get(written, "")
