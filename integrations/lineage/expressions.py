"""What an expression comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from integrations.lineage.edges import How
from integrations.lineage.relations import NOTHING, Ref, Refs, Scope, through

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

# Parts of an expression that hold no column, whatever they are called.
_LEAVES: Final = (
    exp.Identifier,
    exp.Literal,
    exp.Var,
    exp.DataType,
    exp.JSONPath,
    exp.Star,
    exp.Parameter,
    exp.Boolean,
)


def refs_of(reader: Reader, node: exp.Expr, scope: Scope, *, how: How = "value", aliases: bool = False) -> set[Ref]:
    """What an expression comes from, used as `how`.

    Args:
        reader: reads subqueries and takes what is in doubt.
        node: the expression.
        scope: the names it may use.
        how: what it is used for.
        aliases: may it use aliases of the select list?
    """
    found: set[Ref] = set()
    todo: list[exp.Expr] = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, exp.Column):
            found |= _column(reader, part, scope, aliases=aliases)
        elif isinstance(part, _LEAVES):
            continue
        elif isinstance(part, exp.Query):
            relation = reader.query(part, scope)
            reader.report_opens(relation)
            found.update(relation.everything())
            found |= relation.rows
        elif isinstance(part, exp.Exists) and isinstance(part.this, exp.Query):
            found |= through(reader.query(part.this, scope).rows, "filter")
        else:
            if isinstance(part, exp.AggFunc) and part.find(exp.Column) is None:
                found |= scope.counted()
            elif isinstance(part, exp.Window):
                found |= _named_window(reader, part, scope)
            elif isinstance(part, exp.Lambda):
                todo.append(part.this)
                continue
            todo.extend(part.iter_expressions())
    return through(found, how)


def _column(reader: Reader, node: exp.Column, scope: Scope, *, aliases: bool) -> Refs:
    if isinstance(node.this, exp.Star):
        return reader.finder.whole(node, scope)
    column = reader.finder.column(node, scope, aliases=aliases)
    return column.refs if column is not None else NOTHING


def _named_window(reader: Reader, node: exp.Window, scope: Scope) -> Refs:
    """What `OVER w` adds; the window's definition was read before."""
    name = node.args.get("alias")
    if name is None:
        return NOTHING
    return scope.windows.get(reader.naming.of(name), NOTHING)


def read_windows(reader: Reader, select: exp.Select, scope: Scope) -> None:
    """Read the WINDOW clause into the scope; a window may stand on an earlier one."""
    for window in select.args.get("windows") or ():
        parts = [p for p in (*(window.args.get("partition_by") or ()), window.args.get("order")) if p is not None]
        found: set[Ref] = set(_named_window(reader, window, scope))
        for part in parts:
            found |= refs_of(reader, part, scope)
        scope.windows[reader.naming.of(window.this)] = frozenset(found)
