"""How a column written in a query finds what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from integrations.lineage.edges import Source
from integrations.lineage.naming import Key
from integrations.lineage.relations import NOTHING, Column, Refs, Scope, Use

if TYPE_CHECKING:
    from integrations.lineage.reader import Reader

# Dialects in which an item of the select list may use the alias of an earlier one.
LATERAL_ALIASES: Final = frozenset(
    {"snowflake", "redshift", "databricks", "spark", "duckdb", "clickhouse", "teradata", "exasol", "dremio"}
)
# Columns that every table of some engine has, besides its own.
PSEUDO: Final = frozenset(
    [
        "ctid",
        "cmin",
        "cmax",
        "xmin",
        "xmax",
        "tableoid",
        "oid",
        "rowid",
        "rownum",
        "rownumber",
        "level",
        "sysdate",
        "systimestamp",
        "current_user",
        "user",
        "_partitiontime",
        "_partitiondate",
        "_table_suffix",
        "_file_name",
        "_part",
        "_rowid_",
        "input_file_name",
        "filename",
    ]
)


class Finder:
    """Finds columns in a scope; what is in doubt it reports to the reader and leaves out."""

    __slots__ = ("reader",)

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def column(self, node: exp.Column, scope: Scope, *, aliases: bool) -> Column | None:
        """What a column means; `aliases`: may it be an alias of the select list?"""
        naming = self.reader.naming
        key = naming.of(node.this)
        table = node.args.get("table")
        if table is None:
            return self.bare(key, node, scope, aliases=aliases)
        return self._qualified(key, node, scope)

    def _named(self, use: Use, column: Column) -> Column:
        """A column was found by its name: the statement does not run without it."""
        if use.table:
            self.reader.uses.add(Source(use.table, column.name))
        return column

    def bare(self, key: Key, node: exp.Expr, scope: Scope, *, aliases: bool) -> Column | None:
        """A column without its table."""
        level: Scope | None = scope
        while level is not None:
            found, is_settled = self._here(key, node, level, aliases=aliases)
            if is_settled:
                return found
            level, aliases = level.outer, False
        if key.lower() in PSEUDO:
            return Column(key, key, NOTHING)
        self.reader.doubt(node, f"there is no column {key} in {self._tables(scope)}")
        return None

    def _here(self, key: Key, node: exp.Expr, scope: Scope, *, aliases: bool) -> tuple[Column | None, bool]:
        """Find it at one level; the second part says whether the search ends here."""
        if key in scope.merged:
            return scope.merged[key], True
        certain = scope.having(key)
        if len(certain) > 1:
            names = " or ".join(sorted(f"{u.alias}.{key}" for u, _ in certain))
            self.reader.doubt(node, f"{key} is ambiguous: {names}")
            return None, True
        if certain:
            return self._named(*certain[0]), True
        alias = scope.aliases.get(key) if aliases else None
        whole = self._whole_row(key, scope)
        if whole is not None and alias is None:
            return whole, True
        undecided = scope.undecided
        if not undecided:
            return alias, alias is not None
        return self._supposed(key, node, scope, undecided, alias), True

    def _supposed(
        self, key: Key, node: exp.Expr, scope: Scope, undecided: list[Use], alias: Column | None
    ) -> Column | None:
        """No table is known to have it, but some are not known well enough."""
        if any(u.relation.is_broken for u in undecided):
            return alias  # why it is not known has been said
        found = undecided[0].relation.supposed(key) if len(undecided) == 1 else None
        if alias is not None:
            if found is not None and alias.refs == found.refs:
                return alias
            self.reader.doubt(node, f"{key} is ambiguous: the alias, or a column of {self._names(undecided)}")
            return None
        if found is None:
            names = self._names(undecided)
            self.reader.doubt(node, f"{key} is ambiguous: the columns of {names} are not known")
            return None
        outer = scope.outer
        while outer is not None:
            if outer.having(key) or key in outer.merged:
                around = " or ".join(u.alias for u, _ in outer.having(key))
                self.reader.doubt(
                    node,
                    f"{key} is ambiguous: the columns of {self._names(undecided)} are not known, and {around} has it",
                )
                return None
            outer = outer.outer
        return self._named(undecided[0], found)

    def _whole_row(self, key: Key, scope: Scope) -> Column | None:
        """A table's name where a value is wanted: its whole row."""
        uses = [u for u in scope.called(key) if u.relation.is_closed or u.relation.spread is not None]
        if len(uses) != 1 or (uses[0].table == "" and not uses[0].relation.columns and not uses[0].relation.spread):
            return None
        return Column(key, key, frozenset(uses[0].relation.everything()))

    def _qualified(self, key: Key, node: exp.Column, scope: Scope) -> Column | None:
        """A column with its table, or a field of a struct."""
        naming = self.reader.naming
        written: list[exp.Identifier] = [node.args[a] for a in ("catalog", "db", "table") if node.args.get(a)]
        level: Scope | None = scope
        while level is not None:
            use = self._table_of(written, level)
            if use is not None:
                return self._column_of(use, key, node)
            for place, part in enumerate(written):  # alias.struct.field, struct.field
                if place and (use := self._table_of(written[:place], level)) is not None:
                    found = self._column_of(use, naming.of(part), node)
                    return found and Column(key, key, found.refs)
            if level.having(naming.of(written[0])) or naming.of(written[0]) in level.merged:
                found = self.bare(naming.of(written[0]), node, level, aliases=False)
                return found and Column(key, key, found.refs)
            level = level.outer
        first = naming.of(written[0])
        if first in scope.aliases and self.reader.naming.name in LATERAL_ALIASES:
            return Column(key, key, scope.aliases[first].refs)
        names = ".".join(w.name for w in written)
        self.reader.doubt(node, f"there is no table {names} for {names}.{node.name} in {self._tables(scope)}")
        return None

    def _table_of(self, written: list[exp.Identifier], scope: Scope) -> Use | None:
        """The relation that `a`, `schema.a` or `catalog.schema.a` calls."""
        naming = self.reader.naming
        uses = scope.called(naming.of(written[-1]))
        if len(written) > 1:
            parts = tuple(naming.table(w.name, quoted=bool(w.args.get("quoted"))) for w in written)
            uses = [u for u in uses if u.parts[-len(parts) :] == parts]
        return uses[0] if uses else None

    def _column_of(self, use: Use, key: Key, node: exp.Column) -> Column | None:
        found = use.relation.index.get(key) or use.relation.supposed(key)
        if found is None and key.lower() in PSEUDO:
            return Column(key, key, NOTHING)
        if found is None and use.relation.opens:
            self.reader.doubt(node, f"{use.alias}.{key} cannot be resolved: {use.alias} is not known well enough")
        elif found is None and not use.relation.is_broken:
            near = [c.name for c in use.relation.columns if c.name.lower() == key.lower()]
            spelled = f' (there is "{near[0]}", which wants quotes)' if near else ""
            self.reader.doubt(node, f"there is no column {key} in {use.alias}{spelled}")
        return found and self._named(use, found)

    def star(self, node: exp.Column, scope: Scope) -> Use | None:
        """The relation of `t.*`."""
        written: list[exp.Identifier] = [node.args[a] for a in ("catalog", "db", "table") if node.args.get(a)]
        level: Scope | None = scope
        while level is not None:
            if (use := self._table_of(written, level)) is not None:
                return use
            level = level.outer
        return None

    def whole(self, node: exp.Column, scope: Scope) -> Refs:
        """What `t.*` comes from, where it is one value."""
        use = self.star(node, scope)
        if use is None:
            self.reader.doubt(node, f"there is no table {node.table} for {node.table}.*")
            return NOTHING
        return frozenset(use.relation.everything())

    def _names(self, uses: list[Use]) -> str:
        return " and ".join(sorted(u.alias or "a subquery" for u in uses))

    def _tables(self, scope: Scope) -> str:
        return ", ".join(dict.fromkeys(u.alias or "a subquery" for u in scope.uses)) or "no table"
