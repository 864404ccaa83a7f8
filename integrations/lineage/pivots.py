"""PIVOT and UNPIVOT, as far as the columns they make can be known without looking at rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from integrations.lineage.expressions import refs_of
from integrations.lineage.relations import Column, Ref, Relation, Scope, through

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader


def pivoted(reader: Reader, node: exp.Pivot, relation: Relation, scope: Scope) -> Relation:
    """What a relation becomes by PIVOT or UNPIVOT; `scope` is what is around it."""
    own = Scope(scope.outer, scope.ctes)
    own.add(reader.tables.named("", relation))
    if node.args.get("unpivot"):
        return _unpivot(reader, node, relation, own)
    if node.args.get("fields"):
        return _pivot(reader, node, relation, own)
    return _dynamic(reader, node, relation, own)


def _pivot(reader: Reader, node: exp.Pivot, relation: Relation, own: Scope) -> Relation:
    """`PIVOT (sum(x) FOR c IN ('a', 'b'))`: x and c give way to a column for each value; the others are the groups."""
    made: set[Ref] = set()
    for aggregate in node.expressions:
        made |= refs_of(reader, aggregate, own)
    for field in node.args["fields"]:
        made |= refs_of(reader, field.this, own)
    used = {reader.naming.of(c.this) for c in node.find_all(exp.Column)}
    groups = [c for c in relation.columns if c.key not in used]
    names = [(reader.naming.of(c), c.name) for c in node.args.get("columns") or ()]
    columns = [Column(key, key, frozenset(made)) for key, name in names]
    rows = relation.rows | {r for c in groups for r in through(c.refs, "group")}
    spread = None if names else frozenset(made)
    return Relation([*groups, *columns], rows, opens=relation.opens, spread=spread, is_broken=relation.is_broken)


def _dynamic(reader: Reader, node: exp.Pivot, relation: Relation, own: Scope) -> Relation:
    """`PIVOT t ON c USING sum(x) GROUP BY g`: the columns are named by the rows, so any name comes from c and x."""
    made: set[Ref] = set()
    for part in (*node.expressions, *(node.args.get("using") or ())):
        made |= refs_of(reader, part, own)
    group = node.args.get("group")
    if group is not None:
        keys = {reader.naming.of(c.this) for c in group.find_all(exp.Column)}
        groups = [c for c in relation.columns if c.key in keys]
    else:
        used = {reader.naming.of(c.this) for c in node.find_all(exp.Column)}
        groups = [c for c in relation.columns if c.key not in used]
    rows = relation.rows | {r for c in groups for r in through(c.refs, "group")}
    return Relation(groups, rows, spread=frozenset(made))


def _unpivot(reader: Reader, node: exp.Pivot, relation: Relation, own: Scope) -> Relation:
    """`UNPIVOT (x FOR c IN (a, b))`: a and b give way to their name in c and their value in x; no value, no row."""
    fields = node.args.get("fields") or ()
    taken = [c for f in fields for e in f.expressions for c in e.find_all(exp.Column)]
    taken += [c for e in node.expressions for c in e.find_all(exp.Column)] if not fields else []
    refs: set[Ref] = set()
    for column in taken:
        refs |= refs_of(reader, column, own)
    gone = {reader.naming.of(c.this) for c in taken}
    columns = [c for c in relation.columns if c.key not in gone]
    columns += [_named(reader, field.this, set()) for field in fields]
    values = [i for e in node.expressions for i in (e.expressions if isinstance(e, exp.Tuple) else [e])]
    columns += [_named(reader, value, refs) for value in values] if fields else []
    if not fields:
        columns += [Column(key, key, frozenset(r)) for key, r in (("name", set[Ref]()), ("value", refs))]
    rows = relation.rows | through(refs, "filter")
    return Relation(columns, frozenset(rows), opens=relation.opens, is_broken=relation.is_broken)


def _named(reader: Reader, node: exp.Expr, refs: set[Ref]) -> Column:
    identifier = node.this if isinstance(node, exp.Column) else node
    key = reader.naming.of(identifier)
    return Column(key, key, frozenset(refs))
