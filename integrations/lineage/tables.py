"""What stands in FROM: tables, queries, functions, joins, what is unnested and pivoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from integrations.lineage.edges import ROWS, Source
from integrations.lineage.expressions import refs_of
from integrations.lineage.keys import is_matched_once
from integrations.lineage.naming import Key
from integrations.lineage.pivots import pivoted
from integrations.lineage.relations import (
    NOTHING,
    Column,
    Open,
    Ref,
    Relation,
    Scope,
    Use,
    through,
    unknown_table,
)

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

# Dialects in which a query in FROM may read what stands before it without the word LATERAL.
_LATERAL_UNSAID: Final = frozenset({"duckdb"})
_FILES: Final = ("read_csv", "read_csv_auto", "read_parquet", "read_json", "read_json_auto", "parquet_scan")


class Tables:
    """Turns what stands in FROM into relations of a scope."""

    __slots__ = ("reader",)

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def named(self, alias: Key, relation: Relation) -> Use:
        """A relation under a name."""
        return Use(alias, (alias,), relation)

    def enter(self, node: exp.Expr, scope: Scope) -> None:
        """Put an item of FROM into the scope, with the joins that hang on it."""
        joins = node.args.get("joins") or ()
        if isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query) and not node.args.get("alias"):
            self.enter(node.this, scope)  # (a JOIN b): its names are seen outside
        else:
            scope.add(self.use(node, scope))
        decided: set[Ref] = set()
        for join in joins:
            decided |= self.join(join, scope)
        for lateral in node.args.get("laterals") or ():
            scope.add(self.use(lateral, scope))
        if decided and scope.uses:
            last = scope.uses[-1]
            scope.uses[-1] = last._replace(relation=last.relation.also(decided))

    def join(self, node: exp.Join, scope: Scope) -> set[Ref]:
        """Put a joined item into the scope; returns what decides which rows meet."""
        before = len(scope.uses)
        left = list(scope.layout)
        self.enter(node.this, scope)
        if (node.args.get("kind") or "").upper() in ("SEMI", "ANTI") or (node.side or "").upper() in ("SEMI", "ANTI"):
            scope.layout = left
        found: set[Ref] = set()
        for part in (node.args.get("on"), node.args.get("match_condition")):
            if part is not None:
                found |= refs_of(self.reader, part, scope, how="join")
        shared = [self.reader.naming.of(k) for k in node.args.get("using") or ()]
        if (node.method or "").upper() == "NATURAL":
            shared = self._natural(node, scope, left, before)
        if shared:
            found |= self._merge(node, scope, shared, before)
        if (
            (node.side or "").upper() == "LEFT"
            and len(scope.uses) == before + 1
            and scope.uses[-1].relation.is_closed
            and is_matched_once(self.reader, node, scope.uses[-1], shared)
        ):
            self._set_apart(scope, found)
            return set()
        return found

    def _set_apart(self, scope: Scope, found: set[Ref]) -> None:
        """The relation joined last decides no rows."""
        use = scope.uses[-1]
        apart = use.relation.alone(found)
        scope.uses[-1] = use._replace(relation=apart)
        instead = {id(old): new for old, new in zip(use.relation.columns, apart.columns, strict=True)}
        scope.layout = [instead.get(id(c), c) for c in scope.layout]

    def _natural(self, node: exp.Join, scope: Scope, left: list[Column | Open], before: int) -> list[Key]:
        unknown = [u for u in scope.uses if not u.relation.is_closed]
        if unknown:
            names = " and ".join(u.alias for u in unknown)
            self.reader.doubt(node.this, f"a natural join, and the columns of {names} are not known")
            return []
        right = {c.key for u in scope.uses[before:] for c in u.relation.columns}
        return [c.key for c in left if isinstance(c, Column) and c.key in right]

    def _merge(self, node: exp.Join, scope: Scope, shared: list[Key], before: int) -> set[Ref]:
        """USING: one column for both; in an inner or left join it is the left one's."""
        side = (node.side or "").upper()
        found: set[Ref] = set()
        heads = []
        left_uses, right_uses = scope.uses[:before], scope.uses[before:]
        for key in shared:
            left = scope.merged.get(key) or self._shared(node, key, left_uses)
            right = self._shared(node, key, right_uses)
            if left is None or right is None:
                continue
            found |= through(left.refs | right.refs, "join")
            refs = {"RIGHT": right.refs, "FULL": left.refs | right.refs}.get(side, left.refs)
            heads.append(Column(key, left.name, refs))
        keys = {h.key for h in heads}
        rest = [c for c in scope.layout if not (isinstance(c, Column) and c.key in keys)]
        scope.layout = [*heads, *rest]
        scope.merged.update({h.key: h for h in heads})
        return found

    def _shared(self, node: exp.Join, key: Key, uses: list[Use]) -> Column | None:
        certain = [c for u in uses if (c := u.relation.index.get(key)) is not None]
        if certain:
            return certain[0]
        supposed = [c for u in uses if (c := u.relation.supposed(key)) is not None]
        if len(supposed) == 1:
            return supposed[0]
        names = " or ".join(u.alias for u in uses)
        self.reader.doubt(node.this, f"{key} in USING cannot be found in {names}")
        return None

    # --- one item ---------------------------------------------------------------------------------------------------

    def use(self, node: exp.Expr, scope: Scope) -> Use:
        """The relation one item makes, under its name."""
        use = self._use(node, scope)
        for pivot in node.args.get("pivots") or ():
            relation = pivoted(self.reader, pivot, use.relation, scope)
            alias = pivot.args.get("alias")
            name = self.reader.naming.of(alias.this) if alias is not None else use.alias
            use = self._headed(Use(name, (name,), relation), alias)
        return use

    def _use(self, node: exp.Expr, scope: Scope) -> Use:
        alias = node.args.get("alias")
        name = self.reader.naming.of(alias.this) if isinstance(alias, exp.TableAlias) else ""
        if isinstance(node, exp.Table):
            use = self._table(node, name, scope)
        elif isinstance(node, exp.Subquery):
            use = Use(name, (name,), self._subquery(node, scope))
        elif isinstance(node, exp.Lateral):
            use = Use(name, (name,), self._lateral(node, scope))
        elif isinstance(node, exp.Values):
            use = Use(name, (name,), self._values(node, scope))
        elif isinstance(node, exp.Pivot):
            inner = self.use(node.this, scope)
            use = Use(name or inner.alias, (name,), pivoted(self.reader, node, inner.relation, scope))
        elif isinstance(node, exp.Query):
            use = Use(name, (name,), self.reader.query(node, scope))
        elif isinstance(node, exp.MatchRecognize):
            self.reader.doubt(node, "MATCH_RECOGNIZE is not followed")
            use = Use(name, (name,), Relation(is_broken=True))
        else:
            use = Use(name, (name,), self._unnested(node, node, scope))
        return self._headed(use, alias)

    def _headed(self, use: Use, alias: exp.Expr | None) -> Use:
        """With the columns the alias names: `AS t(a, b)`."""
        given = alias.args.get("columns") if isinstance(alias, exp.TableAlias) else None
        if not given or use.relation.opens or use.relation.is_broken:
            if given and use.relation.opens:
                self.reader.report_opens(use.relation)
                relation = Relation((), use.relation.rows, is_broken=True)
                return use._replace(relation=relation)
            return use
        naming = self.reader.naming
        names = [(naming.of(c), naming.of(c)) for c in given]
        if use.relation.spread is None:
            return use._replace(relation=use.relation.renamed(names))
        spread = use.relation.spread
        columns = (Column(key, name, spread) for key, name in names)
        return use._replace(relation=Relation(columns, use.relation.rows))

    def _table(self, node: exp.Table, alias: Key, scope: Scope) -> Use:
        this = node.this
        if not isinstance(this, exp.Identifier):
            return self._function(node, this, alias, scope)
        naming = self.reader.naming
        key = naming.of(this)
        if not node.args.get("db") and key in scope.ctes:
            return Use(alias or key, (key,), scope.ctes[key])
        parts = naming.parts(node)
        if len(parts) == 2 and scope.called(naming.of(node.args["db"])):  # noqa: PLR2004 - FROM o, o.items
            column = exp.Column(this=this.copy(), table=node.args["db"].copy())
            return Use(alias or key, (key,), self._spread([column], scope))
        relation, table = self.reader.table(node, parts)
        if table:
            self.reader.uses.add(Source(table, ROWS))
        return Use(alias or key, parts, relation, table)

    def _function(self, node: exp.Table, this: exp.Expr, alias: Key, scope: Scope) -> Use:
        """A function in FROM; a file is a table of its own name."""
        if isinstance(this, (exp.Anonymous, exp.ReadCSV, exp.ReadParquet)):
            name = this.name.lower() if isinstance(this, exp.Anonymous) else "read_csv"
            first = this.expressions[0] if this.expressions else this.this
            if name in _FILES or isinstance(this, exp.ReadParquet):
                if isinstance(first, exp.Literal):
                    return Use(alias or first.name, (first.name,), unknown_table(first.name, self.reader.line(node)))
                self.reader.doubt(node, "the files read are not named")
                return Use(alias, (alias,), Relation(is_broken=True))
        if isinstance(this, (exp.Var, exp.Parameter, exp.Placeholder)):
            name = this.name
            return Use(alias or name, (name,), unknown_table(name, self.reader.line(node)))
        relation = self._unnested(this, node, scope)
        own = self.reader.naming.column(this.name) if isinstance(this, exp.Anonymous) else ""
        return Use(alias or own, (alias or own,), relation)

    def _subquery(self, node: exp.Subquery, scope: Scope) -> Relation:
        inner = node.this
        around = scope if self.reader.naming.name in _LATERAL_UNSAID else scope.beside()
        if isinstance(inner, exp.Query):
            bare = not any(node.args.get(a) for a in ("limit", "offset", "order", "with_"))
            return self.reader.query(inner if bare else _without_alias(node), around)
        own = scope.beside()  # (a JOIN b) AS t
        self.enter(inner, own)
        columns = [c for c in own.layout if isinstance(c, Column)]
        opens = tuple(c for c in own.layout if isinstance(c, Open))
        return Relation(columns, frozenset(own.rows()), opens=opens)

    def _lateral(self, node: exp.Lateral, scope: Scope) -> Relation:
        this = node.this
        if isinstance(this, exp.Subquery) and isinstance(this.this, exp.Query):
            return self.reader.query(this.this, scope)
        if isinstance(this, exp.Query):
            return self.reader.query(this, scope)
        return self._unnested(this, node, scope)

    def _unnested(self, this: exp.Expr, node: exp.Expr, scope: Scope) -> Relation:
        """Rows made of a value: every column comes from it, and it decides how many rows there are."""
        relation = self._spread([this], scope)
        offset = this.args.get("offset")
        alias = node.args.get("alias")
        names = list(alias.args.get("columns") or ()) if isinstance(alias, exp.TableAlias) else []
        if isinstance(offset, exp.Identifier):
            names.append(offset)
        if not names and isinstance(alias, exp.TableAlias) and alias.this is not None:
            names = [alias.this]  # one column is called like the table
            naming = self.reader.naming
            key = naming.of(names[0])
            spread = relation.spread or NOTHING
            return Relation([Column(key, key, spread)], relation.rows, spread=spread)
        if isinstance(offset, exp.Identifier):
            naming = self.reader.naming
            spread = relation.spread or NOTHING
            made = [Column(naming.of(n), naming.of(n), spread) for n in names]
            alias_columns = alias.args.get("columns") if isinstance(alias, exp.TableAlias) else None
            if alias_columns:
                return Relation(made, relation.rows, spread=None)
            return Relation(made, relation.rows, spread=spread)
        return relation

    def _spread(self, values: list[exp.Expr], scope: Scope) -> Relation:
        refs: set[Ref] = set()
        for value in values:
            refs |= refs_of(self.reader, value, scope)
        return Relation((), frozenset(through(refs, "join")), spread=frozenset(refs))

    def _values(self, node: exp.Values, scope: Scope) -> Relation:
        """Literal rows; without names of their own the columns are called as the engine calls them."""
        rows = [t.expressions if isinstance(t, exp.Tuple) else [t] for t in node.expressions]
        width = max((len(r) for r in rows), default=0)
        first = 0 if self.reader.naming.name == "duckdb" else 1
        prefix = "col" if self.reader.naming.name in ("duckdb", "spark", "databricks") else "column"
        columns = []
        for place in range(width):
            refs: set[Ref] = set()
            for row in rows:
                if place < len(row):
                    refs |= refs_of(self.reader, row[place], scope)
            key = self.reader.naming.column(f"{prefix}{place + first}")
            columns.append(Column(key, key, frozenset(refs)))
        return Relation(columns)


def _without_alias(node: exp.Subquery) -> exp.Subquery:
    """For reading as a query; the alias is the caller's affair."""
    made = exp.Subquery(**{k: v for k, v in node.args.items() if k not in ("alias", "pivots", "joins", "laterals")})
    made.parent = None
    return made
