"""CREATE TABLE, VIEW, INDEX, TYPE and SEQUENCE: what a statement makes."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from integrations.base import Enumeration, Index, NumberSequence
from integrations.declared.attributes import partitioning
from integrations.declared.columns import column_of, constraints_of, default_names, index_of
from integrations.declared.draft import Draft, DraftTable, Key
from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement

MODELLED = frozenset({"TABLE", "VIEW", "INDEX", "TYPE", "SEQUENCE"})


def create(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Create) -> None:
    """Take what a CREATE makes into the draft."""
    kind = str(tree.args.get("kind") or "").upper()
    if kind == "INDEX":
        _index(draft, spelling, said, tree)
        return
    if _has(tree, exp.TemporaryProperty):
        return  # gone with the session
    schema, name = spelling.shown(tree.this)
    key = spelling.fold(schema, name)
    if kind == "SEQUENCE":
        draft.sequences[key] = NumberSequence(schema, name, _sequence(tree))
    elif kind == "TYPE":
        _type(draft, tree, key, (schema, name))
    else:
        _relation(draft, spelling, said, tree, kind)


def _relation(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Create, kind: str) -> None:
    schema, name = spelling.shown(tree.this)
    key = spelling.fold(schema, name)
    if key in draft.tables and not tree.args.get("replace"):
        if tree.args.get("exists"):
            return
        raise said.wrong(f"{schema}.{name} is there already", hint="write CREATE OR REPLACE, or IF NOT EXISTS")
    if _has(tree, exp.PartitionedOfProperty):
        return  # its parent stands for it
    is_materialized = _has(tree, exp.MaterializedProperty)
    made = DraftTable(schema, name, kind="table" if kind == "TABLE" else "view")
    if is_materialized:
        made.kind = "materialized view"
    _inherit(draft, spelling, said, tree, made)
    if isinstance(tree.this, exp.Schema):
        _elements(spelling, said, tree.this.expressions, made)
    query = tree.args.get("expression")
    if isinstance(query, exp.Query):
        _from_query(draft, spelling, query, made)
        if made.kind != "table":
            made.definition = spelling.text(query)
    _properties(spelling, tree, made)
    made.partitioning = made.partitioning or partitioning(said)
    if not made.columns and kind == "TABLE" and spelling.dialect not in ("postgres", "sqlite", "duckdb"):
        raise said.wrong(f"which columns {schema}.{name} has is not said", hint="write them, or leave the table out")
    draft.tables[key] = made


def _elements(spelling: Spelling, said: Statement, elements: Iterable[exp.Expr], made: DraftTable) -> None:
    later: list[exp.Expr] = []
    for element in elements:
        if isinstance(element, exp.ColumnDef) and _is_index(element, spelling):
            raise said.wrong("an index among the columns is not read", hint="write CREATE INDEX … ON …")
        if isinstance(element, exp.ColumnDef | exp.Identifier):
            column, own = column_of(element, spelling, made.name)
            made.columns.append(column)
            made.defaults.update((name.lower(), column.name) for name in default_names(element, spelling))
            for constraint in own:
                made.constrain(constraint)
        else:
            later.append(element)  # keys may stand before the columns they are of
    for element in later:
        if (index := index_of(element, spelling, made.name)) is not None:
            made.indexes.append(index)
        for constraint in constraints_of(element, spelling, made.name):
            made.constrain(constraint)


def _is_index(element: exp.ColumnDef, spelling: Spelling) -> bool:
    """`INDEX i (a)`, which reads like a column of that name."""
    name = element.this
    return (
        spelling.dialect in ("tsql", "fabric", "snowflake")
        and isinstance(name, exp.Identifier)
        and not name.args.get("quoted")
        and name.name.lower() == "index"
    )


def _inherit(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Create, made: DraftTable) -> None:
    """Columns of another table: LIKE, CLONE, INHERITS."""
    models = [p.this for p in tree.find_all(exp.LikeProperty)]
    models += [p for inherited in tree.find_all(exp.InheritsProperty) for p in inherited.expressions]
    clone = tree.args.get("clone")
    models += [clone.this] if isinstance(clone, exp.Clone) else []
    for model in models:
        parent = draft.tables.get(spelling.key(model))
        if parent is None:
            schema, name = spelling.shown(model)
            raise said.wrong(f"there is no table {schema}.{name} to take columns from")
        made.columns.extend(c._replace(identity=None) for c in parent.columns)
        if isinstance(clone, exp.Clone):
            made.constraints, made.indexes = list(parent.constraints), list(parent.indexes)


def _from_query(draft: Draft, spelling: Spelling, query: exp.Query, made: DraftTable) -> None:
    """Columns by the query, typed as far as the tables it reads are known."""
    named = list(made.columns)
    by_schema: dict[str, dict[str, object]] = {}
    read = {spelling.key(table) for table in query.find_all(exp.Table)}
    for table in (draft.tables[key] for key in read if key in draft.tables):
        by_schema.setdefault(table.schema, {})[table.name] = {c.name: c.type or "unknown" for c in table.columns}
    known: dict[str, object] = dict(by_schema)
    try:
        typed = annotate_types(
            qualify(
                query.copy(),
                schema=known,
                db=spelling.default_schema,
                dialect=spelling.dialect,
                validate_qualify_columns=False,
                quote_identifiers=False,
            ),
            schema=known,
            dialect=spelling.dialect,
        )
        selects = list(typed.selects)
    except (SqlglotError, RecursionError, ValueError):
        selects = list(query.selects)
    made.columns.clear()
    for place, select in enumerate(selects):
        kind = select.type if isinstance(select.type, exp.DataType) else None
        is_known = kind is not None and kind.this not in (exp.DType.UNKNOWN, exp.DType.NULL)
        if spelling.dialect == "clickhouse" and not isinstance(select.unalias(), exp.Column | exp.Cast):
            is_known = False  # there 1 is a UInt8, and a sum wider than what it adds
        if place < len(named):
            column = named[place]
        else:
            column, _ = column_of(exp.to_identifier(select.alias_or_name, quoted=True), spelling, made.name)
        made.columns.append(column._replace(type=spelling.type(kind) if is_known else ""))


def select_into(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Select) -> bool:
    """`SELECT … INTO t`; False where the rows go nowhere, or into a table that ends with the session."""
    into = tree.args.get("into")
    table = into.this if isinstance(into, exp.Into) and not into.args.get("temporary") else None
    if not isinstance(table, exp.Table) or table.this.args.get("temporary"):
        return False
    query = tree.copy()
    query.set("into", None)
    _relation(draft, spelling, said, exp.Create(this=table.copy(), kind="TABLE", expression=query), "TABLE")
    return True


def _properties(spelling: Spelling, tree: exp.Create, made: DraftTable) -> None:
    properties = tree.args.get("properties")
    for one in properties.expressions if isinstance(properties, exp.Properties) else ():
        if isinstance(one, exp.SchemaCommentProperty):
            made.comment = one.this.name
        elif isinstance(one, exp.PartitionedByProperty):
            made.partitioning = spelling.text(one.this)
        elif type(one) is exp.Property and one.this.name.lower() in ("description", "comment"):
            value = one.args.get("value")
            made.comment = value.name if isinstance(value, exp.Expr) else ""


def _index(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Create) -> None:
    index = tree.this
    table = index.args.get("table")
    if not isinstance(table, exp.Table):
        raise said.wrong("the index names no table")
    found = _table(draft, spelling, said, table)
    params = index.args.get("params")
    columns = tuple(_indexed(c, spelling) for c in (params.args.get("columns") or () if params else ()))
    where = params.args.get("where") if params else None
    name = spelling.name(index.this) if index.this is not None else f"{found.name}_{'_'.join(columns)}_idx"
    if any(i.name == name for i in found.indexes):
        if tree.args.get("exists"):
            return
        raise said.wrong(f"the index {name} is there already")
    definition = spelling.text(where) if where is not None else ""
    found.indexes.append(Index(name, columns, bool(tree.args.get("unique")), definition))


def _indexed(node: exp.Expr, spelling: Spelling) -> str:
    inner = node.this if isinstance(node, exp.Ordered) else node
    if isinstance(inner, exp.Column | exp.Identifier):
        return spelling.column(inner)
    return spelling.text(inner)


def _type(draft: Draft, tree: exp.Create, key: Key, named: tuple[str, str]) -> None:
    listed = tree.args.get("expression")
    if isinstance(listed, exp.DataType) and listed.this == exp.DType.ENUM:
        draft.enumerations[key] = Enumeration(*named, tuple(v.name for v in listed.expressions))


def _sequence(tree: exp.Create) -> str:
    """Step and bounds in words, alike for every spelling of them."""
    found = tree.find(exp.SequenceProperties)
    if found is None:
        return "increment 1"
    said = [f"increment {_number(found, 'increment') or '1'}"]
    said += [f"{word} {number}" for word in ("start", "minvalue", "maxvalue") if (number := _number(found, word))]
    return " ".join(said + [o.name.lower() for o in found.args.get("options") or () if o.name.upper() == "CYCLE"])


def _number(found: exp.Expr, what: str) -> str:
    value = found.args.get(what)
    return value.sql() if isinstance(value, exp.Expr) else ""


def _table(draft: Draft, spelling: Spelling, said: Statement, named: exp.Expr) -> DraftTable:
    found = draft.tables.get(spelling.key(named))
    if found is None:
        raise missing(draft, spelling.shown(named), said)
    return found


def missing(draft: Draft, named: tuple[str, str], said: Statement) -> Exception:
    """There is no such table; the nearest is named."""
    near = draft.near(named)
    hint = f"did you mean {near}?" if near else "statements are read in order: is it created further down?"
    return said.wrong(f"there is no table {named[0]}.{named[1]}", hint=hint)


def _has(tree: exp.Expr, kind: type[exp.Expr]) -> bool:
    properties = tree.args.get("properties")
    return isinstance(properties, exp.Properties) and any(isinstance(p, kind) for p in properties.expressions)
