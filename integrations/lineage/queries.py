"""What the columns and rows of a query come from: SELECT, set operations, common table expressions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from sqlglot import exp

from integrations.lineage.expressions import read_windows, refs_of
from integrations.lineage.keys import unique_keys
from integrations.lineage.naming import Key
from integrations.lineage.outputs import columns_of_star, output_name
from integrations.lineage.relations import NOTHING, Column, Open, Ref, Refs, Relation, Scope, through

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

# Dialects in which a common table expression may read itself without the word RECURSIVE.
_RECURSIVE_UNSAID: Final = frozenset({"tsql", "fabric", "oracle", "snowflake", "teradata", "exasol", "db2"})
_ROUNDS: Final = 12  # a recursive expression settles in as many rounds as it has columns that swap; more is no SQL


def read_query(reader: Reader, node: exp.Expr, outer: Scope | None) -> Relation:
    """The relation a query makes; `outer` is what is around it."""
    scope = Scope(outer)
    read_with(reader, node, scope)
    if isinstance(node, exp.Select):
        return read_select(reader, node, scope)
    if isinstance(node, exp.SetOperation):
        return _set_operation(reader, node, scope)
    if isinstance(node, exp.Subquery):
        inner = node.this
        if isinstance(inner, exp.Query) and not node.args.get("pivots") and not node.args.get("joins"):
            return _kept(reader, node, reader.query(inner, scope), scope)
        use = reader.tables.use(node, scope)
        scope.add(use)
        return use.relation
    if isinstance(node, (exp.Values, exp.Table, exp.Pivot)):
        return reader.tables.use(node, scope).relation
    reader.doubt(node, f"{node.key} is not understood as a query")
    return Relation(is_broken=True)


def read_with(reader: Reader, node: exp.Expr, scope: Scope) -> None:
    """Read the common table expressions of a statement into the scope."""
    clause = node.args.get("with_")
    if clause is None:
        return
    scope.ctes = dict(scope.ctes)
    for cte in clause.expressions:
        alias = cte.args["alias"]
        key = reader.naming.of(alias.this)
        head = [(reader.naming.of(c),) * 2 for c in alias.args.get("columns") or ()]
        body = cte.this
        around = Scope(scope.outer, scope.ctes)
        if isinstance(body, (exp.Insert, exp.Update, exp.Delete, exp.Merge)):
            relation = reader.change(body, around)
        elif _is_recursive(reader, clause, body, key):
            relation = _recursive(reader, body, around, key, head)
        else:
            relation = reader.query(body, around)
        scope.ctes[key] = relation.renamed(head) if head else relation


def _is_recursive(reader: Reader, clause: exp.Expr, body: exp.Expr, key: Key) -> bool:
    if not isinstance(body, exp.SetOperation):
        return False
    if not clause.args.get("recursive") and reader.naming.name not in _RECURSIVE_UNSAID:
        return False
    return any(not t.args.get("db") and reader.naming.of(t.this) == key for t in body.find_all(exp.Table))


def _recursive(
    reader: Reader, body: exp.SetOperation, around: Scope, key: Key, head: list[tuple[Key, str]]
) -> Relation:
    """The first part, then the whole again and again until nothing new comes in."""
    around.ctes = dict(around.ctes)
    first = body
    while isinstance(first.this, exp.SetOperation):
        first = first.this
    inner = Scope(around.outer, around.ctes)
    read_with(reader, body, inner)
    relation = reader.query(first.this, inner)
    for _ in range(_ROUNDS):
        around.ctes[key] = relation.renamed(head) if head else relation
        grown = reader.query(body, around)
        if grown.rows == relation.rows and [c.refs for c in grown.columns] == [c.refs for c in relation.columns]:
            break
        relation = grown
    return relation


def read_select(reader: Reader, node: exp.Select, scope: Scope) -> Relation:
    """A SELECT: FROM, then the select list, then what chooses, groups and cuts the rows."""
    args = node.args
    decided: set[Ref] = set()
    if (start := args.get("from_")) is not None:
        reader.tables.enter(start.this, scope)
    for join in args.get("joins") or ():
        decided |= reader.tables.join(join, scope)
    for lateral in args.get("laterals") or ():
        scope.add(reader.tables.use(lateral, scope))
    if args.get("windows"):
        read_windows(reader, node, scope)
    columns, opens, is_broken = _select_list(reader, node, scope)
    decided |= scope.rows() | _chosen(reader, node, scope, columns)
    spread: Refs | None = None
    if any(u.relation.spread is not None for u in scope.uses) and any(
        isinstance(e, exp.Star) for e in node.expressions
    ):
        spread = frozenset().union(*(u.relation.spread or NOTHING for u in scope.uses))
    unique = unique_keys(reader, node, scope, columns)
    return Relation(columns, frozenset(decided), opens=tuple(opens), spread=spread, is_broken=is_broken, unique=unique)


def _chosen(reader: Reader, node: exp.Select, scope: Scope, columns: list[Column]) -> set[Ref]:
    """What decides which of the rows that FROM gives come out, and which become one."""
    found: set[Ref] = set()
    for name in ("where", "prewhere", "having", "qualify", "connect", "start"):
        if (clause := node.args.get(name)) is not None:
            found |= refs_of(reader, clause, scope, how="filter", aliases=True)
    if (group := node.args.get("group")) is not None:
        found |= _group(reader, node, group, scope, columns)
    found |= _cut(reader, node, scope, columns)
    distinct = node.args.get("distinct")
    if distinct is None:
        return found
    if (on := distinct.args.get("on")) is not None:
        return found | refs_of(reader, on, scope, how="group", aliases=True) | _order(reader, node, scope, columns)
    return found | {r for c in columns for r in through(c.refs, "group")}


def _select_list(reader: Reader, node: exp.Select, scope: Scope) -> tuple[list[Column], list[Open], bool]:
    columns: list[Column] = []
    opens: list[Open] = []
    is_broken = False
    has_lateral = reader.has_lateral_aliases
    for place, item in enumerate(node.expressions):
        inner = item.this if isinstance(item, exp.Alias) else item
        if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
            made, more, broken = columns_of_star(reader, item, scope)
            columns += made
            opens += more
            is_broken |= broken
            continue
        if isinstance(inner, exp.Columns) or inner.find(exp.Columns) is not None:
            reader.doubt(item, "the columns that COLUMNS(...) stands for are not followed")
            is_broken = True
            continue
        columns.append(_item(reader, item, inner, scope, place, has_lateral=has_lateral))
        if isinstance(item, exp.Alias):
            scope.aliases.setdefault(columns[-1].key, columns[-1])
    return columns, opens, is_broken


def _item(reader: Reader, item: exp.Expr, inner: exp.Expr, scope: Scope, place: int, *, has_lateral: bool) -> Column:
    """One column of a select list."""
    if isinstance(inner, exp.Column):
        found = reader.finder.column(inner, scope, aliases=has_lateral)
        refs = found.refs if found is not None else NOTHING
        if inner is item:
            key = reader.naming.of(inner.this)
            is_same = found is not None and key in (found.key, reader.naming.column(found.name))
            return Column(key, found.name if found is not None and is_same else key, refs)
    else:
        refs = frozenset(refs_of(reader, inner, scope, aliases=has_lateral))
    key, name = output_name(reader, item, place)
    return Column(key, name, refs)


def _group(reader: Reader, node: exp.Select, group: exp.Expr, scope: Scope, columns: list[Column]) -> set[Ref]:
    if group.args.get("all"):
        plain = [
            c
            for c, item in zip(columns, node.expressions, strict=False)
            if len(columns) == len(node.expressions) and item.find(exp.AggFunc) is None
        ]
        return {r for c in plain for r in through(c.refs, "group")}
    found: set[Ref] = set()
    for part in group.iter_expressions():
        found |= _by_place(part, columns) or refs_of(reader, part, scope, how="group", aliases=True)
    return through(found, "group")


def _by_place(part: exp.Expr, columns: list[Column]) -> set[Ref]:
    """What `GROUP BY 1` or `ORDER BY 2` means; empty for anything else."""
    part = part.this if isinstance(part, exp.Ordered) else part
    if isinstance(part, exp.Literal) and not part.args.get("is_string") and part.name.isdigit():
        place = int(part.name) - 1
        return set(columns[place].refs) if place < len(columns) else set()
    return set()


def _cut(reader: Reader, node: exp.Expr, scope: Scope, columns: list[Column]) -> set[Ref]:
    """What LIMIT, OFFSET, FETCH and TOP keep depends on the order."""
    found: set[Ref] = set()
    limits = [c for c in (node.args.get("limit"), node.args.get("offset")) if c is not None]
    for limit in limits:
        found |= refs_of(reader, limit, scope, how="filter")
    order = _order(reader, node, scope, columns)  # read in any case: its columns are used
    return found | order if limits else found


def _order(reader: Reader, node: exp.Expr, scope: Scope, columns: list[Column]) -> set[Ref]:
    order = node.args.get("order")
    if order is None:
        return set()
    found: set[Ref] = set()
    outputs = {c.key: c for c in reversed(columns)}
    for part in order.expressions:
        by_place = _by_place(part, columns)
        column = part.this if isinstance(part, exp.Ordered) else part
        if by_place:
            found |= by_place
        elif isinstance(column, exp.Column) and not column.table and reader.naming.of(column.this) in outputs:
            found |= outputs[reader.naming.of(column.this)].refs  # here the output goes before the input
        else:
            found |= refs_of(reader, part, scope, aliases=True)
    return through(found, "order")


def _kept(reader: Reader, node: exp.Expr, relation: Relation, scope: Scope) -> Relation:
    """A query in parentheses may have an order and a limit of its own."""
    own = Scope(scope.outer, scope.ctes)
    own.add(reader.tables.named("", relation))
    cut = _cut(reader, node, own, list(relation.columns))
    return relation.also(cut) if cut else relation


def _set_operation(reader: Reader, node: exp.SetOperation, scope: Scope) -> Relation:
    """Iterates down the left: a thousand parts are no thousand calls."""
    spine: list[exp.SetOperation] = []
    left: exp.Expr = node
    while isinstance(left, exp.SetOperation):
        spine.append(left)
        left = left.this
        if isinstance(left, exp.SetOperation) and left.args.get("with_") is not None:
            break
    relation = reader.query(left, scope)
    for operation in reversed(spine):
        relation = _combined(reader, operation, relation, reader.query(operation.expression, scope))
        own = Scope(scope.outer, scope.ctes)
        own.add(reader.tables.named("", relation))
        relation = relation.also(_cut(reader, operation, own, list(relation.columns)))
    return relation


def _combined(reader: Reader, node: exp.SetOperation, left: Relation, right: Relation) -> Relation:
    is_except, is_union = isinstance(node, exp.Except), isinstance(node, exp.Union)
    compared: set[Ref] = set()
    if not (is_union and not node.args.get("distinct")):
        compared = through([*left.everything(), *right.everything()], "group")
    rows = left.rows | right.rows | compared
    unknown = [*left.opens, *right.opens]
    is_broken = left.is_broken or right.is_broken
    if node.args.get("by_name"):
        columns = list(_by_name(left.columns, right.columns))
        return Relation(columns, rows, opens=tuple(unknown), is_broken=is_broken)
    if unknown or is_broken or left.spread is not None or right.spread is not None:
        if is_except or (left.opens == right.opens and left.columns == right.columns):
            return Relation(left.columns, rows, opens=left.opens, spread=left.spread, is_broken=left.is_broken)
        reader.report_opens(left)
        reader.report_opens(right)
        return Relation(left.columns, rows, is_broken=True)
    if len(left.columns) != len(right.columns):
        reader.doubt(node, f"a set operation of {len(left.columns)} and {len(right.columns)} columns")
        return Relation(left.columns, rows)
    if is_except:
        return Relation(left.columns, rows)
    pairs = zip(left.columns, right.columns, strict=True)
    return Relation((Column(a.key, a.name, a.refs | b.refs) for a, b in pairs), rows)


def _by_name(left: Iterable[Column], right: Iterable[Column]) -> Iterator[Column]:
    others = {c.key: c for c in right}
    for column in left:
        other = others.pop(column.key, None)
        yield column if other is None else Column(column.key, column.name, column.refs | other.refs)
    yield from others.values()
