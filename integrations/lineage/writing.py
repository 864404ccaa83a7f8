"""INSERT, UPDATE, DELETE, MERGE: what the columns and rows of the table they change come from.

A condition of an UPDATE moves only the columns it sets; one of an INSERT or DELETE moves the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlglot import exp

from integrations.lineage.effects import Effect
from integrations.lineage.expressions import refs_of
from integrations.lineage.naming import Key
from integrations.lineage.queries import read_select
from integrations.lineage.relations import Column, Ref, Refs, Relation, Scope, Use
from integrations.lineage.schema import Known

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader


class Written:
    """The table a statement changes, and what was written to it."""

    def __init__(self, reader: Reader, use: Use) -> None:
        self.reader = reader
        self.use = use
        self.path = use.table or reader.session.path(use.parts)
        known = reader.session.find(use.parts)
        self.known = known if isinstance(known, Known) and known.columns is not None else None
        self.assigned: dict[Key, set[Ref]] = {}
        if isinstance(known, Known):
            reader.session.loosen(known)

    @classmethod
    def named(cls, reader: Reader, node: exp.Table) -> Written:
        """The table a statement names as the one it changes."""
        parts = reader.naming.parts(node)
        relation, path = reader.table(node, parts)
        alias = node.args.get("alias")
        return cls(reader, Use(reader.naming.of(alias.this) if alias is not None else parts[-1], parts, relation, path))

    def name(self, key: Key) -> str:
        """A column as the schema spells it."""
        return (self.known.column(key) if self.known is not None else None) or key

    def put(self, key: Key, refs: Iterable[Ref]) -> None:
        """A column is written from refs."""
        kept = set(refs)
        self.assigned.setdefault(key, set()).update(kept)
        self.reader.put(self.path, self.name(key), self._without_own_rows(kept))

    def put_rows(self, refs: Iterable[Ref]) -> None:
        """Rows come or go by refs."""
        self.reader.put_rows(self.path, self._without_own_rows(refs))

    def _without_own_rows(self, refs: Iterable[Ref]) -> set[Ref]:
        return {r for r in refs if not (r.how == "rows" and r.table == self.path)}

    def columns(self) -> list[Key] | None:
        """Its columns in order, where they are known."""
        return list(self.known.columns or ()) if self.known is not None else None

    def effect(self, kind: str, returned: Relation) -> Effect:
        """What the statement did."""
        names = tuple(self.name(k) for k in self.assigned)
        return Effect(kind, relation=self.path, columns=names, returned=returned)


def insert(reader: Reader, node: exp.Insert, scope: Scope) -> Effect:
    """INSERT: by the columns named, else by those the target is known to have."""
    head = node.this
    table = head.this if isinstance(head, exp.Schema) else head
    if not isinstance(table, exp.Table):
        reader.doubt(node, "an INSERT into something that is no table is not followed")
        return Effect("insert")
    target = Written.named(reader, table)
    named = [reader.naming.of(_bare_name(c)) for c in head.expressions] if isinstance(head, exp.Schema) else None
    relation = _inserted(reader, node.expression, scope)
    if relation is not None:
        target.put_rows(relation.rows)
        _fill(reader, node, target, relation, named)
    conflict = node.args.get("conflict")
    if conflict is not None and conflict.expressions:
        own = Scope(scope.outer, scope.ctes)
        own.add(target.use)
        excluded = (Column(k, k, frozenset(refs)) for k, refs in target.assigned.items())
        own.add(reader.tables.named("excluded", Relation(excluded)))
        own.uses[1] = own.uses[1]._replace(alias=reader.naming.column("excluded"))
        condition: set[Ref] = set()
        if (where := conflict.args.get("where")) is not None:
            condition = refs_of(reader, where, own, how="filter")
        _assign(reader, conflict.expressions, target, _without(own, "excluded"), own, condition)
    return target.effect("insert", _returned(reader, node, target, scope))


def _without(scope: Scope, alias: str) -> Scope:
    """For names without a table: ON CONFLICT reads `excluded` only where it is said."""
    other = Scope(scope, scope.ctes)
    for use in scope.uses:
        if use.alias.lower() != alias:
            other.add(use)
    return other


def _bare_name(node: exp.Expr) -> exp.Expr:
    while not isinstance(node, exp.Identifier) and isinstance(node.this, exp.Expr):
        node = node.this
    return node


def _inserted(reader: Reader, query: exp.Expr | None, scope: Scope) -> Relation | None:
    if query is None:
        return None
    if isinstance(query, exp.Values):
        return reader.tables.use(query, scope).relation
    if isinstance(query, exp.Table):
        query = exp.select("*").from_(query)
    if isinstance(query, exp.Query):
        return reader.query(query, scope)
    reader.doubt(query, f"an INSERT from {query.key} is not followed")
    return None


def _fill(reader: Reader, node: exp.Insert, target: Written, relation: Relation, named: list[Key] | None) -> None:
    """The columns of what is inserted into those of the target, by name or by position."""
    reader.report_opens(relation)
    if relation.spread is not None:
        reader.doubt(node, "the columns inserted depend on the rows")
    if node.args.get("by_name"):
        for column in relation.columns:
            target.put(column.key, column.refs)
        return
    into = _places(node, target) if named is None else named
    if not relation.is_closed:
        return
    if into is None:
        if relation.columns:
            reader.doubt(node, f"the columns of {target.path} are not known: the INSERT names none")
        return
    width = len(relation.columns)
    if width > len(into) or (named is not None and width != len(into)):
        reader.doubt(node, f"the INSERT into {target.path} has {width} columns for {len(into)}")
        return
    for key, column in zip(into, relation.columns, strict=False):
        target.put(key, column.refs)


def _places(node: exp.Insert, target: Written) -> list[Key] | None:
    """The target's columns in order; PARTITION (ds = 'x') takes its column from no query."""
    into = target.columns()
    partition = node.this.args.get("partition") if isinstance(node.this, exp.Table) else None
    if into is None or partition is None:
        return into
    static = {target.reader.naming.of(e.this.this) for e in partition.expressions if isinstance(e, exp.EQ)}
    return [k for k in into if k not in static]


def insert_many(reader: Reader, node: exp.Expr, scope: Scope) -> Effect:
    """INSERT ALL: one query into several tables, each with its condition."""
    source = node.args["source"]
    own = Scope(scope.outer, scope.ctes)
    relation = reader.query(source, scope)
    own.add(reader.tables.named("", relation))
    effect = Effect("insert")
    for part in node.expressions:
        inner = part.this
        head = inner.this
        target = Written.named(reader, head.this if isinstance(head, exp.Schema) else head)
        named = [reader.naming.of(_bare_name(c)) for c in head.expressions] if isinstance(head, exp.Schema) else None
        given = reader.tables.use(inner.expression, own).relation if inner.expression is not None else relation
        rows = set(relation.rows)
        if (condition := part.args.get("expression")) is not None:
            rows |= refs_of(reader, condition, own, how="filter")
        target.put_rows(rows)
        _fill(reader, inner, target, given, named)
        effect = target.effect("insert", Relation())
    return effect


def update(reader: Reader, node: exp.Update, scope: Scope) -> Effect:
    """UPDATE, with FROM or joins; the target may be named by its alias in FROM."""
    start = node.args.get("from_")
    if start is not None:
        reader.tables.enter(start.this, scope)
    target = _changed(reader, node.this, scope)
    decided: set[Ref] = set()
    for join in node.this.args.get("joins") or ():
        decided |= reader.tables.join(join, scope)
    decided |= scope.rows()
    if (where := node.args.get("where")) is not None:
        decided |= refs_of(reader, where, scope, how="filter")
    _assign(reader, node.expressions, target, scope, scope, decided)
    return target.effect("update", _returned(reader, node, target, scope))


def _changed(reader: Reader, node: exp.Table, scope: Scope) -> Written:
    """The table an UPDATE or DELETE changes, in its scope: it may stand there already, under the name given."""
    key = reader.naming.of(node.this)
    if not node.args.get("db"):
        for use in scope.uses:
            if use.alias == key and use.table:
                return Written(reader, use)
    target = Written.named(reader, node)
    scope.uses.insert(0, target.use)
    return target


def _assign(
    reader: Reader,
    assignments: Iterable[exp.Expr],
    target: Written,
    scope: Scope,
    left: Scope,
    decided: Iterable[Ref],
) -> None:
    """`SET a = …, (b, c) = (…)`: values into the columns, conditions too, for they move nothing else."""
    decided = frozenset(decided)
    for assignment in assignments:
        if not isinstance(assignment, exp.EQ):
            reader.doubt(assignment, "this assignment is not understood")
            continue
        for column, refs in _pairs(reader, assignment, scope):
            owner = _owner(reader, column, target, left)
            owner.put(reader.naming.of(_bare_name(column)), refs | decided)


def _pairs(reader: Reader, node: exp.EQ, scope: Scope) -> list[tuple[exp.Expr, set[Ref]]]:
    left, right = node.this, node.expression
    if not isinstance(left, (exp.Tuple, exp.Paren)):
        return [(left, refs_of(reader, right, scope))]
    columns = left.expressions if isinstance(left, exp.Tuple) else [left.this]
    if isinstance(right, exp.Tuple) and len(right.expressions) == len(columns):
        return [(c, refs_of(reader, v, scope)) for c, v in zip(columns, right.expressions, strict=True)]
    query = right.unnest() if isinstance(right, (exp.Subquery, exp.Paren)) else right
    if isinstance(query, exp.Query):
        relation = reader.query(query, scope)
        if len(relation.columns) == len(columns) and relation.is_closed:
            return [(c, set(o.refs | relation.rows)) for c, o in zip(columns, relation.columns, strict=True)]
    reader.doubt(node, "the values of this assignment cannot be told apart")
    return []


def _owner(reader: Reader, column: exp.Expr, target: Written, scope: Scope) -> Written:
    """In an UPDATE over several tables a column may belong to another than the first."""
    table = column.args.get("table") if isinstance(column, exp.Column) else None
    key = reader.naming.of(table)
    if not key or key == target.use.alias:
        return target
    for use in scope.uses:
        if use.alias == key and use.table and use.table != target.path:
            return Written(reader, use)
    return target


def delete(reader: Reader, node: exp.Delete, scope: Scope) -> Effect:
    """DELETE, with USING or FROM."""
    for part in node.args.get("using") or ():
        reader.tables.enter(part, scope)
    table = node.this
    named = node.args.get("tables") or []
    if named and isinstance(table, exp.Table):  # DELETE d FROM dst d JOIN …
        reader.tables.enter(table, scope)
    if named:  # or DELETE d alone, as some dialects have it
        table = named[0]
    target = _changed(reader, table, scope)
    decided = scope.rows()
    if not named:
        for join in node.this.args.get("joins") or ():
            decided |= reader.tables.join(join, scope)
        decided |= scope.rows()
    if (where := node.args.get("where")) is not None:
        decided |= refs_of(reader, where, scope, how="filter")
    target.put_rows(decided)
    returned = _returned(reader, node, target, scope)
    returned = returned.also(decided) if returned.columns else returned
    return target.effect("delete", returned)


def _returned(reader: Reader, node: exp.Expr, target: Written, scope: Scope) -> Relation:
    """What RETURNING hands on: the table's columns, those written with what was written."""
    returning = node.args.get("returning")
    if returning is None:
        return Relation()
    columns = [
        Column(c.key, c.name, frozenset(target.assigned[c.key]) if c.key in target.assigned else c.refs)
        for c in target.use.relation.columns
    ]
    known = {c.key for c in columns}
    columns += [Column(k, k, frozenset(refs)) for k, refs in target.assigned.items() if k not in known]
    relation = Relation(columns, target.use.relation.rows, opens=target.use.relation.opens)
    own = Scope(scope.outer, scope.ctes)
    own.add(target.use._replace(relation=relation))
    for use in scope.uses:
        if use.alias != target.use.alias:
            own.add(use, is_hidden=True)
    select = exp.Select(expressions=[e.copy() for e in returning.expressions])
    return read_select(reader, select, own)


def merge(reader: Reader, node: exp.Merge, scope: Scope) -> Effect:
    """MERGE: each branch by itself."""
    target = Written.named(reader, node.this)
    source = reader.tables.use(node.args["using"], scope.beside())
    both, alone = Scope(scope.outer, scope.ctes), Scope(scope.outer, scope.ctes)
    both.add(target.use)
    both.add(source)
    alone.add(source)
    meets = refs_of(reader, node.args["on"], both, how="join") | source.relation.rows
    whens = node.args.get("whens")
    branches = whens.expressions if whens is not None else node.expressions
    for when in branches:
        decided = set(meets)
        if (condition := when.args.get("condition")) is not None:
            decided |= refs_of(reader, condition, both, how="filter")
        then = when.args.get("then")
        if isinstance(then, exp.Update):
            if any(isinstance(e, exp.Star) for e in then.expressions):
                for key, refs in _by_name(reader, target, source.relation):
                    target.put(key, refs | decided)
            else:
                _assign(reader, then.expressions, target, both, both, decided)
        elif isinstance(then, exp.Insert):
            target.put_rows(decided)
            _merge_insert(reader, then, target, source.relation, alone)
        elif then is not None and then.name.upper() == "DELETE":
            target.put_rows(decided)
    return target.effect("merge", _returned(reader, node, target, both))


def _by_name(reader: Reader, target: Written, source: Relation) -> list[tuple[Key, Refs]]:
    """`UPDATE SET *`, `INSERT *`: the columns both have."""
    if not source.is_closed:
        reader.report_opens(source)
        return []
    known = target.columns()
    return [(c.key, c.refs) for c in source.columns if known is None or c.key in known]


def _merge_insert(reader: Reader, then: exp.Insert, target: Written, source: Relation, alone: Scope) -> None:
    values = then.expression
    if isinstance(then.this, exp.Star) or (isinstance(values, exp.Star)):
        for key, refs in _by_name(reader, target, source):
            target.put(key, refs)
        return
    named = (
        [reader.naming.of(_bare_name(c)) for c in then.this.expressions] if isinstance(then.this, exp.Tuple) else None
    )
    into = named if named is not None else target.columns()
    if isinstance(values, exp.Tuple):
        given = [refs_of(reader, v, alone) for v in values.expressions]
    elif isinstance(then.this, exp.Tuple) and values is None:  # INSERT VALUES (…) names no columns
        given, into = [refs_of(reader, v, alone) for v in then.this.expressions], target.columns()
    elif values is not None and not isinstance(values, exp.Var):
        given = [refs_of(reader, values, alone)]
    else:  # INSERT ROW
        reader.report_opens(source)
        given = [set(c.refs) for c in source.columns] if source.is_closed else []
    if into is None:
        reader.doubt(then, f"the columns of {target.path} are not known: the INSERT names none")
        return
    if len(given) > len(into):
        reader.doubt(then, f"the INSERT into {target.path} has {len(given)} values for {len(into)} columns")
        return
    for key, value in zip(into, given, strict=False):
        target.put(key, value)
