"""A column, a key, a check, an index as a statement declares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from integrations.base import Column, Constraint, Index
from integrations.declared.spelling import Spelling, serial


@dataclass(slots=True)
class _Said:
    """What the words behind a column's type say."""

    is_null: bool | None = None
    default: str | None = None
    generated: str = ""
    numbering: str = ""
    comment: str = ""
    collation: str = ""


def column_of(node: exp.Expr, spelling: Spelling, table: str) -> tuple[Column, list[Constraint]]:
    """A column with the keys and checks that are written behind it."""
    name = spelling.column(node)
    kind = node.args.get("kind") if isinstance(node, exp.ColumnDef) else None
    said = _Said()
    own: list[Constraint] = []
    for wrapped in node.args.get("constraints") or ():
        _hear(wrapped.args.get("kind"), said, spelling)
        own.extend(_inline(wrapped, name, spelling, table))
    written = spelling.type(kind)
    if spelling.dialect == "postgres" and (plain := serial(written)):
        written = plain
        said.default = f"nextval('{table}_{name}_seq'::regclass)"
        said.is_null = False
    if said.is_null is None and isinstance(kind, exp.DataType) and spelling.dialect == "clickhouse":
        inner = kind.expressions[0] if kind.this == exp.DType.LOWCARDINALITY and kind.expressions else kind
        said.is_null = bool(inner.args.get("nullable"))
    column = Column(
        name=name,
        position=0,
        type=written,
        nullable=said.is_null is not False and not said.numbering,
        default=said.default,
        comment=said.comment,
        generated=said.generated,
        numbering=said.numbering,
        collation=said.collation,
    )
    return column, own


def default_names(node: exp.Expr, spelling: Spelling) -> Iterator[str]:
    """The names of a column's defaults, where they are constraints with names (T-SQL)."""
    for wrapped in node.args.get("constraints") or ():
        if isinstance(wrapped.args.get("kind"), exp.DefaultColumnConstraint) and isinstance(
            wrapped.this, exp.Identifier
        ):
            yield spelling.name(wrapped.this)


def _hear(kind: exp.Expr | None, said: _Said, spelling: Spelling) -> None:
    if isinstance(kind, exp.NotNullColumnConstraint):
        said.is_null = bool(kind.args.get("allow_null"))
    elif isinstance(kind, exp.DefaultColumnConstraint):
        said.default = spelling.text(kind.this)
    elif isinstance(kind, exp.ComputedColumnConstraint):
        said.generated = spelling.text(kind.this)
    elif isinstance(kind, exp.GeneratedAsIdentityColumnConstraint):
        if kind.args.get("expression") is not None:
            said.generated = spelling.text(kind.args["expression"])
        else:
            said.numbering = "by default" if kind.this is False and spelling.dialect != "tsql" else "always"
    elif isinstance(kind, exp.AutoIncrementColumnConstraint):
        said.numbering = "by default"
    elif isinstance(kind, exp.CommentColumnConstraint):
        said.comment = kind.this.name
    elif isinstance(kind, exp.CollateColumnConstraint):
        said.collation = kind.this.name
    elif isinstance(kind, exp.Properties):
        said.comment = description(kind.expressions) or said.comment


def description(properties: list[exp.Expr]) -> str:
    """The comment among a list of options."""
    for one in properties:
        value = one.args.get("value")
        if isinstance(one, exp.Property) and one.this.name.lower() == "description" and isinstance(value, exp.Expr):
            return value.name
    return ""


def _inline(wrapped: exp.Expr, column: str, spelling: Spelling, table: str) -> Iterator[Constraint]:
    kind = wrapped.args.get("kind")
    name = spelling.name(wrapped.this) if isinstance(wrapped.this, exp.Identifier) else ""
    if isinstance(kind, exp.PrimaryKeyColumnConstraint):
        yield _primary(name, (column,), spelling, table)
    elif isinstance(kind, exp.UniqueColumnConstraint):
        yield _unique(name, (column,), spelling, table)
    elif isinstance(kind, exp.Reference):
        yield _foreign(name, (column,), kind, spelling, table)
    elif isinstance(kind, exp.CheckColumnConstraint):
        yield _check(name, kind, spelling, table)


def constraints_of(node: exp.Expr, spelling: Spelling, table: str) -> Iterator[Constraint]:
    """The keys and checks of a table's element, or of an ADD CONSTRAINT."""
    if isinstance(node, exp.Constraint):
        name = spelling.name(node.this)
        for inner in node.expressions:
            yield from _of(name, inner, spelling, table)
    else:
        yield from _of("", node, spelling, table)


def _of(name: str, node: exp.Expr, spelling: Spelling, table: str) -> Iterator[Constraint]:
    if isinstance(node, exp.PrimaryKey | exp.PrimaryKeyColumnConstraint):
        yield _primary(name, _named(node, spelling), spelling, table)
    elif isinstance(node, exp.UniqueColumnConstraint):
        inner = node.this
        if isinstance(inner, exp.Schema) and isinstance(inner.this, exp.Identifier):
            name = spelling.name(inner.this)
        yield _unique(name, _named(inner, spelling) if inner is not None else (), spelling, table)
    elif isinstance(node, exp.ForeignKey):
        reference = node.args.get("reference")
        if isinstance(reference, exp.Reference):
            yield _foreign(name, _named(node, spelling), reference, spelling, table)
    elif isinstance(node, exp.CheckColumnConstraint | exp.Check):
        yield _check(name, node, spelling, table)


def index_of(node: exp.Expr, spelling: Spelling, table: str) -> Index | None:
    """The index that a table's element declares (`KEY k (a)`), None for anything else."""
    if not isinstance(node, exp.IndexColumnConstraint):
        return None
    over = node.args.get("expression")  # ClickHouse's is over one expression, without brackets
    columns = tuple(spelling.column(c) for c in node.expressions or ([over] if isinstance(over, exp.Expr) else []))
    name = spelling.name(node.this) if isinstance(node.this, exp.Identifier) else f"{table}_{'_'.join(columns)}"
    return Index(name, columns, definition=str(node.args.get("kind") or "").lower())


def _named(node: exp.Expr, spelling: Spelling) -> tuple[str, ...]:
    return tuple(spelling.column(c) for c in node.expressions)


def _primary(name: str, columns: tuple[str, ...], spelling: Spelling, table: str) -> Constraint:
    listed = ", ".join(columns)
    return Constraint(name or _given(spelling, table, "pkey"), "primary_key", columns, f"PRIMARY KEY ({listed})")


def _unique(name: str, columns: tuple[str, ...], spelling: Spelling, table: str) -> Constraint:
    named = name or _given(spelling, table, *columns, "key")
    return Constraint(named, "unique", columns, f"UNIQUE ({', '.join(columns)})")


def _foreign(
    name: str, columns: tuple[str, ...], reference: exp.Reference, spelling: Spelling, table: str
) -> Constraint:
    schema, other = spelling.shown(reference.this)
    referenced = _named(reference.this, spelling) if isinstance(reference.this, exp.Schema) else ()
    target = f"{schema}.{other}"
    shown = f"{target}({', '.join(referenced)})" if referenced else target
    options = [str(o).upper() for o in reference.args.get("options") or ()]
    definition = " ".join([f"FOREIGN KEY ({', '.join(columns)}) REFERENCES {shown}", *options])
    named = name or _given(spelling, table, *columns, "fkey")
    return Constraint(named, "foreign_key", columns, definition, target, referenced)


def _check(name: str, node: exp.Expr, spelling: Spelling, table: str) -> Constraint:
    columns = tuple(dict.fromkeys(spelling.column(c) for c in node.find_all(exp.Column)))
    inner = node.this.this if isinstance(node.this, exp.Paren) else node.this
    named = name or _given(spelling, table, *columns[:1], "check")
    return Constraint(named, "check", columns, f"CHECK (({spelling.text(inner)}))")


def _given(spelling: Spelling, table: str, *words: str) -> str:
    """The name PostgreSQL gives what has none, by which it is dropped later; other engines tell none beforehand."""
    return "_".join((table, *words)) if spelling.dialect in ("postgres", "redshift") else ""
