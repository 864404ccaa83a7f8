"""What a statement makes or changes: queries, CREATE, DROP and ALTER here, the rest in `writing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sqlglot import exp

from integrations.lineage import writing
from integrations.lineage.effects import Effect
from integrations.lineage.expressions import refs_of
from integrations.lineage.naming import Key, Path
from integrations.lineage.queries import read_with
from integrations.lineage.relations import Relation, Scope
from integrations.lineage.schema import Known

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

# Commands the parser does not read, and that move no rows.
_QUIET: Final = frozenset(
    [
        "GRANT",
        "REVOKE",
        "ANALYZE",
        "VACUUM",
        "SHOW",
        "EXPLAIN",
        "SET",
        "RESET",
        "LOCK",
        "UNLOCK",
        "CHECKPOINT",
        "COMMENT",
        "PRAGMA",
        "OPTIMIZE",
        "ALTER",
        "DROP",
        "DECLARE",
        "PRINT",
        "USE",
        "DETACH",
        "INSTALL",
        "LOAD",
        "DEALLOCATE",
        "DISCARD",
        "LISTEN",
        "NOTIFY",
        "UNLISTEN",
        "SECURITY",
        "END",
        "START",
    ]
)
_QUIET_NODES: Final = (
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    exp.Grant,
    exp.Revoke,
    exp.Comment,
    exp.Describe,
    exp.Show,
    exp.Pragma,
    exp.Analyze,
    exp.Kill,
    exp.Declare,
    exp.Attach,
    exp.Detach,
    exp.Refresh,
    exp.Semicolon,
)
_WITH_BODY: Final = ("PROCEDURE", "TRIGGER")
_USE_IS_SCHEMA: Final = frozenset(
    {"mysql", "spark", "spark2", "databricks", "hive", "clickhouse", "doris", "starrocks", "trino", "presto", "duckdb"}
)


def read_statement(reader: Reader, node: exp.Expr) -> Effect:
    """Read one statement as a whole."""
    for kinds, read in _STATEMENTS:
        if isinstance(node, kinds):
            return read(reader, node)
    if not isinstance(node, _QUIET_NODES):
        reader.doubt(node, f"{node.key.upper()} is not understood: what it does to tables is not known")
    return Effect("other")


def read_change(reader: Reader, node: exp.Expr, outer: Scope) -> Effect:
    """Read a statement that changes the rows of a table."""
    scope = Scope(outer)
    read_with(reader, node, scope)
    if isinstance(node, exp.Insert):
        return writing.insert(reader, node, scope)
    if isinstance(node, exp.Update):
        return writing.update(reader, node, scope)
    if isinstance(node, exp.Delete):
        return writing.delete(reader, node, scope)
    if isinstance(node, exp.Merge):
        return writing.merge(reader, node, scope)
    return writing.insert_many(reader, node, scope)


def _bare(reader: Reader, node: exp.Expr) -> Effect:
    into = node.args.get("into")
    if into is not None and isinstance(into.this, exp.Table):
        is_temporary = bool(into.args.get("temporary"))
        return _made_from_query(reader, node, into.this, node, "create table", is_temporary=is_temporary)
    relation = reader.query(node, None)
    return _written(reader, node, relation, reader.result, "select")


def _written(reader: Reader, node: exp.Expr, relation: Relation, path: str, kind: str) -> Effect:
    """A query's columns become those of a relation."""
    for column in relation.columns:
        reader.put(path, column.name, column.refs)
    reader.put_rows(path, relation.rows)
    reader.report_opens(relation)
    if relation.spread is not None:
        reader.doubt(node, "the columns depend on the rows (PIVOT, UNNEST): * is not expanded")
    passes = tuple(o.table for o in relation.opens)
    names = {c.key: c.name for c in relation.columns}
    keys = tuple(sorted(tuple(sorted(names[k] for k in key)) for key in relation.unique if key <= names.keys()))
    return Effect(kind, relation=path, columns=tuple(c.name for c in relation.columns), passes=passes, keys=keys)


def _made_from_query(
    reader: Reader,
    node: exp.Expr,
    head: exp.Expr,
    query: exp.Expr,
    kind: str,
    *,
    is_temporary: bool,
) -> Effect:
    """CREATE … AS, SELECT INTO, CACHE TABLE: the relation is read before it is there."""
    parts = reader.naming.parts(_table_in(head))
    scope = Scope()
    if node is not query:
        read_with(reader, node, scope)
    relation = reader.query(query, scope)
    if isinstance(head, exp.Schema) and not relation.opens:
        names = [reader.naming.of(e.this if isinstance(e, exp.ColumnDef) else e) for e in _columns(head)]
        relation = relation.renamed((n, n) for n in names)
    is_known = not (relation.opens or relation.is_broken or relation.spread is not None)
    columns = [(c.key, c.name) for c in relation.columns] if is_known else None
    previous = reader.session.find(parts) if len(parts) > 1 or reader.session.schema.default else None
    if isinstance(previous, Known) and not is_temporary:  # spelled as the schema spells it
        spelled = {c.key: previous.column(c.key) or c.name for c in relation.columns}
        relation = relation.renamed((c.key, spelled[c.key]) for c in relation.columns)
        columns = [(c.key, c.name) for c in relation.columns] if is_known else None
    path = reader.session.make(parts, columns, is_temporary=is_temporary, unique=relation.unique)
    effect = _written(reader, node, relation, path, kind)
    return effect.but(is_temporary=is_temporary)


def _table_in(head: exp.Expr) -> exp.Table:
    found = head.this if isinstance(head, exp.Schema) else head
    return found if isinstance(found, exp.Table) else exp.to_table(found.sql())


def _columns(schema: exp.Schema) -> list[exp.Expr]:
    return [e for e in schema.expressions if isinstance(e, (exp.ColumnDef, exp.Identifier, exp.Column))]


def _create(reader: Reader, node: exp.Create) -> Effect:
    kind = str(node.args.get("kind") or "").upper()
    if kind in _WITH_BODY:
        reader.doubt(node, f"the body of a {kind.lower()} is not read")
    if kind not in ("TABLE", "VIEW", "MATERIALIZED VIEW", "DYNAMIC TABLE", "EXTERNAL TABLE", "FLOW"):
        return Effect("other")
    table = node.this.this if isinstance(node.this, exp.Schema) else node.this
    if not isinstance(table, exp.Table):
        return Effect("other")
    properties = node.args.get("properties")
    kept = list(properties.expressions) if properties is not None else []
    is_temporary = any(isinstance(p, exp.TemporaryProperty) for p in kept) or _is_hash(table)
    word = f"create {'materialized view' if _is_materialized(kept) else kind.lower()}"
    query = node.expression
    if isinstance(query, exp.Expr) and not isinstance(query, exp.Command):
        if isinstance(query, exp.Table):
            query = exp.select("*").from_(query)
        return _made_from_query(reader, node, node.this, query, word, is_temporary=is_temporary)
    clone = node.args.get("clone")
    if clone is not None and isinstance(clone.this, exp.Table):
        star = exp.select("*").from_(clone.this.copy())
        return _made_from_query(reader, node, node.this, star, word, is_temporary=is_temporary)
    return _defined(reader, node, table, kept, is_temporary=is_temporary, word=word)


def _is_hash(table: exp.Table) -> bool:
    return bool(table.this.args.get("temporary")) if isinstance(table.this, exp.Identifier) else False


def _is_materialized(properties: list[exp.Expr]) -> bool:
    return any(isinstance(p, exp.MaterializedProperty) for p in properties)


def _defined(
    reader: Reader,
    node: exp.Create,
    table: exp.Table,
    properties: list[exp.Expr],
    *,
    is_temporary: bool,
    word: str,
) -> Effect:
    """A table with columns of its own, empty; what it computes from them is lineage."""
    parts = reader.naming.parts(table)
    if node.args.get("exists") and isinstance(known := reader.session.find(parts), Known) and known.columns:
        return Effect(word, relation=known.path, columns=tuple(known.columns.values()))
    names: list[Key] | None = None
    definitions: list[exp.ColumnDef] = []
    if isinstance(node.this, exp.Schema):
        definitions = [d for d in node.this.expressions if isinstance(d, exp.ColumnDef)]
        names = [reader.naming.of(d.this) for d in definitions]
    like = next((p for p in properties if isinstance(p, exp.LikeProperty)), None)
    if like is None and isinstance(node.this, exp.Schema):
        like = next((e for e in node.this.expressions if isinstance(e, exp.LikeProperty)), None)
    if like is not None and isinstance(like.this, exp.Table):
        model = reader.session.find(reader.naming.parts(like.this))
        if isinstance(model, Known) and model.columns is not None:
            names = [*model.columns, *(names or ())]
    columns = None if names is None else [(n, n) for n in names]
    path = reader.session.make(parts, columns, is_temporary=is_temporary)
    scope = Scope()
    relation, _ = reader.table(table, parts)
    scope.add(reader.tables.named(parts[-1], relation))
    for definition in definitions:
        for constraint in definition.args.get("constraints") or ():
            kind = constraint.args.get("kind")
            formula = kind.this if isinstance(kind, exp.ComputedColumnConstraint) else None
            if isinstance(kind, exp.GeneratedAsIdentityColumnConstraint):
                formula = kind.args.get("expression")
            if isinstance(formula, exp.Expr):
                reader.put(path, reader.naming.of(definition.this), refs_of(reader, formula, scope))
    return Effect(word, relation=path, columns=tuple(names or ()), is_temporary=is_temporary)


def _drop(reader: Reader, node: exp.Drop) -> Effect:
    kind = str(node.args.get("kind") or "").upper()
    if kind not in ("TABLE", "VIEW", "MATERIALIZED VIEW"):
        return Effect("other")
    named = node.args.get("tables") or [node.this]
    paths = [reader.session.drop(reader.naming.parts(t)) for t in named if isinstance(t, exp.Table)]
    return Effect("drop", relation=paths[0] if paths else "", dropped=tuple(paths))


def _alter(reader: Reader, node: exp.Alter) -> Effect:
    """What ALTER TABLE does to the columns a later statement may name."""
    if not isinstance(node.this, exp.Table):
        return Effect("other")
    parts = reader.naming.parts(node.this)
    known = reader.session.find(parts)
    if not isinstance(known, Known):
        return Effect("other")
    columns = dict(known.columns) if known.columns is not None else None
    renamed: dict[str, str] = {}
    target: Path = parts
    for action in node.args.get("actions") or ():
        if isinstance(action, exp.AlterRename):
            target = reader.naming.parts(action.this)
        elif columns is not None and isinstance(action, exp.RenameColumn):
            old, new = reader.naming.of(action.this.this), reader.naming.of(action.args["to"].this)
            renamed[columns.get(old, old)] = new
            columns = dict((new, new) if key == old else (key, name) for key, name in columns.items())
        elif columns is not None and isinstance(action, exp.ColumnDef):
            columns[reader.naming.of(action.this)] = reader.naming.of(action.this)
        elif columns is not None and isinstance(action, exp.Drop):
            for column in action.args.get("tables") or ():
                columns.pop(reader.naming.of(column.this), None)
    old_path = known.path
    if target != parts:
        reader.session.drop(parts)
    path = reader.session.make(
        target, columns.items() if columns is not None else None, is_temporary=known.is_temporary
    )
    return Effect("alter", relation=path, was=old_path, renamed=tuple(renamed.items()))


def _use(reader: Reader, node: exp.Use) -> Effect:
    kind = node.args.get("kind")
    word = kind.name.upper() if isinstance(kind, exp.Expr) else ""
    if isinstance(node.this, exp.Table) and (word == "SCHEMA" or (not word and reader.naming.name in _USE_IS_SCHEMA)):
        reader.session.use(reader.naming.parts(node.this))
    return Effect("other")


def _set(reader: Reader, node: exp.Set) -> Effect:
    """`SET search_path TO mart`: unqualified names mean another schema from here on."""
    for item in node.expressions:
        setting = item.this
        if isinstance(setting, exp.EQ) and setting.this.name.lower() == "search_path":
            value = setting.expression
            first = value.expressions[0] if isinstance(value, exp.Tuple) and value.expressions else value
            name = first.name
            if name:
                reader.session.use((reader.naming.table(name, quoted=isinstance(first, exp.Literal)),))
    return Effect("other")


def _truncate(reader: Reader, node: exp.TruncateTable) -> Effect:
    paths = [reader.session.path(reader.naming.parts(t)) for t in node.expressions if isinstance(t, exp.Table)]
    return Effect("truncate", relation=paths[0] if paths else "")


def _cache(reader: Reader, node: exp.Cache) -> Effect:
    """Spark's CACHE TABLE … AS."""
    return _made_from_query(reader, node, node.this, node.expression, "create table", is_temporary=True)


def _command(reader: Reader, node: exp.Command) -> Effect:
    """What the parser kept as text."""
    word = str(node.this).upper()
    if word not in _QUIET:
        reader.doubt(node, f"{word} is not understood: what it does to tables is not known")
    return Effect("other")


def _change(reader: Reader, node: exp.Expr) -> Effect:
    return read_change(reader, node, Scope())


_STATEMENTS: Final[tuple[tuple[type[exp.Expr] | tuple[type[exp.Expr], ...], Callable[[Reader, Any], Effect]], ...]] = (
    ((exp.Query, exp.Values, exp.Pivot, exp.Table), _bare),
    (exp.Create, _create),
    ((exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.MultitableInserts), _change),
    (exp.Drop, _drop),
    (exp.Alter, _alter),
    (exp.TruncateTable, _truncate),
    (exp.Use, _use),
    (exp.Set, _set),
    (exp.Cache, _cache),
    (exp.Command, _command),
)
