"""The columns a select list makes: stars expanded, names given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from integrations.lineage.expressions import refs_of
from integrations.lineage.naming import Key
from integrations.lineage.relations import Column, Open, Scope

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

_LIKE_POSTGRES: Final = frozenset({"postgres", "redshift", "materialize", "risingwave"})


def columns_of_star(reader: Reader, node: exp.Expr, scope: Scope) -> tuple[list[Column], list[Open], bool]:
    """What `*` or `t.*` stands for, its EXCEPT, REPLACE and RENAME done.

    Returns the columns that are known, the tables whose columns are not, and whether something is missing altogether.
    """
    star = node.this if isinstance(node, exp.Column) else node
    columns: list[Column]
    opens: list[Open]
    if isinstance(node, exp.Column):
        use = reader.finder.star(node, scope)
        if use is None:
            column = _struct(reader, node, scope)
            if column is None:
                reader.doubt(node, f"there is no table {node.table} for {node.table}.*")
            else:
                reader.doubt(node, f"the fields of {node.table} are not known: {node.table}.* is not expanded")
            return [], [], True
        columns, opens, is_broken = list(use.relation.columns), list(use.relation.opens), use.relation.is_broken
    else:
        columns = [c for c in scope.layout if isinstance(c, Column)]
        opens = [c for c in scope.layout if isinstance(c, Open)]
        is_broken = any(u.relation.is_broken for u in scope.uses)
        if not scope.uses:
            reader.doubt(node, "* without a table")
    return _altered(reader, star, scope, columns), opens, is_broken


def _struct(reader: Reader, node: exp.Column, scope: Scope) -> Column | None:
    key = reader.naming.column(node.table)
    found = scope.having(key)
    return found[0][1] if found else None


def _altered(reader: Reader, star: exp.Expr, scope: Scope, columns: list[Column]) -> list[Column]:
    naming = reader.naming
    dropped = {naming.of(c if isinstance(c, exp.Identifier) else c.this) for c in star.args.get("except_") or ()}
    replaced = {
        naming.of(a.args["alias"]): frozenset(refs_of(reader, a.this, scope)) for a in star.args.get("replace") or ()
    }
    called = {naming.of(a.this.this): a.args["alias"] for a in star.args.get("rename") or ()}
    made = []
    for column in columns:
        if column.key in dropped:
            continue
        refs = replaced.get(column.key, column.refs)
        if column.key in called:
            key = naming.of(called[column.key])
            made.append(Column(key, key, refs))
        else:
            made.append(Column(column.key, column.name, refs))
    return made


def output_name(reader: Reader, item: exp.Expr, place: int) -> tuple[Key, str]:
    """The name a column of a select list gets: its alias, else what the engine calls it, else `_colN` (from 0)."""
    if isinstance(item, exp.Alias):
        alias = item.args["alias"]
        key = reader.naming.of(alias)
        return key, key
    name = _unnamed(item) if reader.naming.name in _LIKE_POSTGRES else item.output_name
    key = reader.naming.column(name) if name else f"_col{place}"
    return key, key


def _unnamed(item: exp.Expr) -> str:
    """What PostgreSQL calls an expression without an alias."""
    while isinstance(item, (exp.Cast, exp.Paren, exp.Window, exp.Filter, exp.WithinGroup)):
        if isinstance(item.this, exp.Literal):
            break
        item = item.this
    name = item.output_name
    if isinstance(item, exp.Subquery) and item.this.expressions:
        first = item.this.expressions[0]
        name = first.output_name or _unnamed(first)
    elif isinstance(item, exp.Cast):
        name = item.to.sql("postgres").lower()
    elif isinstance(item, exp.Anonymous):
        name = item.name.lower()
    elif isinstance(item, exp.Case):
        name = "case"
    elif isinstance(item, exp.Func) and not isinstance(item, (exp.Connector, exp.Binary)):
        name = item.sql_name().lower()
    return name or "?column?"
