"""Which columns tell the rows of a query apart, and what that says of a LEFT JOIN.

A LEFT JOIN to a relation that has at most one row for the columns compared adds no row and takes none away: what
decides that relation's rows then moves its own columns alone, not those of the other side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from integrations.lineage.naming import Key
from integrations.lineage.relations import Column, Relation, Scope, Use

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

KeySet = frozenset[Key]


def unique_keys(reader: Reader, node: exp.Select, scope: Scope, columns: list[Column]) -> frozenset[KeySet]:
    """Sets of output columns no two rows agree in; an empty set: there is one row at most. Only what is certain."""
    distinct, group, qualify = node.args.get("distinct"), node.args.get("group"), node.args.get("qualify")
    found: set[KeySet] = set()
    if group is not None:
        found |= _of(reader, node, columns, _grouped(node, group, columns))
    elif any(_is_aggregate(item, node) for item in node.expressions):
        found.add(frozenset())
    elif len(scope.uses) == 1 and not node.args.get("laterals"):
        found |= _handed_on(reader, node, scope.uses[0].relation)
    if distinct is not None:
        on = distinct.args.get("on")
        if on is None:
            found.add(frozenset(c.key for c in columns))
        else:
            found |= _of(reader, node, columns, on.expressions if isinstance(on, exp.Tuple) else [on])
    if qualify is not None and isinstance(qualify.this, exp.EQ):
        found |= _of(reader, node, columns, _first_of_each(qualify.this))
    return frozenset(found)


def _grouped(node: exp.Select, group: exp.Expr, columns: list[Column]) -> list[exp.Expr] | None:
    """The expressions grouped by; None where a row may come twice (ROLLUP) or they are not all known."""
    if any(group.args.get(a) for a in ("rollup", "cube", "grouping_sets", "totals")):
        return None
    if group.args.get("all"):
        is_plain = len(columns) == len(node.expressions)
        return [_bare(i) for i in node.expressions if not _is_aggregate(i, node)] if is_plain else None
    return list(group.expressions)


def _of(reader: Reader, node: exp.Select, columns: list[Column], parts: list[exp.Expr] | None) -> set[KeySet]:
    """The outputs that are these expressions; nothing where one of them is not put out."""
    if parts is None or len(columns) != len(node.expressions):
        return set()
    outputs = {_bare(item): c.key for item, c in zip(node.expressions, columns, strict=True)}
    aliases = {c.key for c in columns}
    keys = set()
    for part in parts:
        key = outputs.get(part)
        if isinstance(part, exp.Literal) and part.name.isdigit() and 0 < int(part.name) <= len(columns):
            key = columns[int(part.name) - 1].key
        elif key is None and isinstance(part, exp.Column):
            name = reader.naming.of(part.this)
            same = [k for o, k in outputs.items() if isinstance(o, exp.Column) and reader.naming.of(o.this) == name]
            key = same[0] if len(same) == 1 else (name if name in aliases and not part.table and not same else None)
        if key is None:
            return set()
        keys.add(key)
    return {frozenset(keys)}


def _handed_on(reader: Reader, node: exp.Select, relation: Relation) -> set[KeySet]:
    """The keys of the one relation read, as far as their columns are put out."""
    called: dict[Key, Key] = {}
    for item in node.expressions:
        inner = _bare(item)
        if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
            star = inner.this if isinstance(inner, exp.Column) else inner
            if not any(star.args.get(a) for a in ("replace", "rename", "except_")):
                called.update({c.key: c.key for c in relation.columns})
        elif isinstance(inner, exp.Column):
            alias = item.args.get("alias") if isinstance(item, exp.Alias) else inner.this
            called.setdefault(reader.naming.of(inner.this), reader.naming.of(alias))
    return {frozenset(called[k] for k in keys) for keys in relation.unique if all(k in called for k in keys)}


def _first_of_each(test: exp.EQ) -> list[exp.Expr] | None:
    """What `row_number() over (partition by a, b …) = 1` leaves one row of."""
    window, one = test.this, test.expression
    if isinstance(window, exp.Window) and isinstance(window.this, exp.RowNumber) and one.name == "1":
        return list(window.args.get("partition_by") or ())
    return None


def _bare(item: exp.Expr) -> exp.Expr:
    found = item.this if isinstance(item, exp.Alias) else item
    assert isinstance(found, exp.Expr)  # noqa: S101 - an alias is of something
    return found


def _is_aggregate(item: exp.Expr, select: exp.Select) -> bool:
    """Does it hold an aggregate of this very query, not of a window or a subquery?"""
    return any(a.find_ancestor(exp.Window, exp.Query) is select for a in item.find_all(exp.AggFunc))


def is_matched_once(reader: Reader, node: exp.Join, use: Use, shared: list[Key]) -> bool:
    """Has the right side of a join at most one row for each row on the left?"""
    unique = use.relation.unique
    if not unique:
        return False
    compared = set(shared)
    on = node.args.get("on")
    if on is not None:
        for test in on.flatten() if isinstance(on, exp.And) else [on]:
            if isinstance(test, exp.EQ):
                compared |= _compared(reader, test.this, test.expression, use)
                compared |= _compared(reader, test.expression, test.this, use)
    return any(keys <= compared for keys in unique)


def _compared(reader: Reader, one: exp.Expr, other: exp.Expr, use: Use) -> set[Key]:
    """The right side's column that a value from elsewhere is compared with."""
    if isinstance(one, exp.Column) and reader.naming.of(one.args.get("table")) == use.alias:
        elsewhere = all(c.table and reader.naming.of(c.args["table"]) != use.alias for c in other.find_all(exp.Column))
        if elsewhere:
            return {reader.naming.of(one.this)}
    return set()
