"""ALTER, DROP and COMMENT as the parser reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from sqlglot import exp

from integrations.base import Column
from integrations.declared.columns import column_of, constraints_of, default_names, description, index_of
from integrations.declared.creating import missing
from integrations.declared.draft import Draft, DraftTable, Key
from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement

_DROPPED_CONSTRAINTS: Final = frozenset({"CONSTRAINT", "FOREIGN KEY", "CHECK"})


class Altering:
    """One ALTER of one table."""

    def __init__(self, draft: Draft, spelling: Spelling, said: Statement, key: Key) -> None:
        self.draft = draft
        self.spelling = spelling
        self.said = said
        self.key = key
        self.table: DraftTable = draft.tables[key]

    def apply(self, action: exp.Expr) -> None:
        """One action of the statement."""
        for kind, how in _ACTIONS.items():
            if isinstance(action, kind):
                how(self, action)
                return
        raise self.said.wrong(f"this change of a table is not read: {type(action).__name__}")

    def add(self, action: exp.Expr) -> None:
        """ADD COLUMN, at its place where one is named."""
        column, own = column_of(action, self.spelling, self.table.name)
        if self.table.place(column.name) is not None:
            if action.args.get("exists"):
                return
            raise self.said.wrong(f"{self.table.schema}.{self.table.name} has a column {column.name} already")
        self.table.columns.insert(self._place(action), column)
        self.table.defaults.update((name.lower(), column.name) for name in default_names(action, self.spelling))
        for constraint in own:
            self.table.constrain(constraint)

    def _place(self, action: exp.Expr) -> int:
        position = action.args.get("position")
        if not isinstance(position, exp.ColumnPosition):
            return len(self.table.columns)
        if position.this is None:  # FIRST
            return 0
        after = self.table.place(self.spelling.column(position.this))
        return len(self.table.columns) if after is None else after + 1

    def add_many(self, action: exp.Expr) -> None:
        """ADD (a …, b …)."""
        for one in action.expressions:
            self.add(one)

    def replace_columns(self, action: exp.Expr) -> None:
        """REPLACE COLUMNS: the columns are these from now on."""
        self.table.columns = [column_of(c, self.spelling, self.table.name)[0] for c in action.expressions]

    def constrain(self, action: exp.Expr) -> None:
        """ADD CONSTRAINT, ADD KEY, ADD INDEX."""
        for one in action.expressions:
            index = index_of(one, self.spelling, self.table.name)
            if index is not None:
                self.table.indexes.append(index)
            for constraint in constraints_of(one, self.spelling, self.table.name):
                self.table.constrain(constraint)

    def alter(self, action: exp.Expr) -> None:
        """ALTER COLUMN: type, nullability, default, comment."""
        changes: dict[str, object] = {}
        if (kind := action.args.get("dtype")) is not None:
            changes["type"] = self.spelling.type(kind)
        if (allows := action.args.get("allow_null")) is not None:
            changes["nullable"] = bool(allows)
        elif action.args.get("drop"):
            changes["default"] = None
        if (default := action.args.get("default")) is not None:
            changes["default"] = self.spelling.text(default)
        if isinstance(comment := action.args.get("comment"), exp.Expr):
            changes["comment"] = comment.name
        self._change(self.spelling.column(action.this), changes)

    def modify(self, action: exp.Expr) -> None:
        """MySQL's MODIFY and CHANGE: the whole column is said anew."""
        column, own = column_of(action.this, self.spelling, self.table.name)
        before = action.args.get("rename_from")
        if before is not None:
            self.rename(self.spelling.column(before), column.name)
        self._change(column.name, said_anew(column))
        for constraint in own:
            self.table.constrain(constraint)

    def rename_column(self, action: exp.Expr) -> None:
        """RENAME COLUMN a TO b."""
        self.rename(self.spelling.column(action.this), self.spelling.column(action.args["to"]))

    def rename(self, before: str, after: str) -> None:
        """Rename a column; it must be there."""
        if not self.table.rename_column(before, after):
            raise self._no_column(before)

    def drop(self, action: exp.Expr) -> None:
        """DROP COLUMN, CONSTRAINT, INDEX."""
        kind = str(action.args.get("kind") or "COLUMN").upper()
        for one in action.args.get("tables") or ():
            name = self.spelling.column(one)
            if kind == "COLUMN":
                is_gone = self.table.drop_column(name)
            elif kind in _DROPPED_CONSTRAINTS:
                is_gone = self.drop_constraint(name)
            else:  # MySQL drops a unique key as the index it is
                is_gone = self.drop_index(name) or self.drop_constraint(name)
            if not is_gone and not action.args.get("exists"):
                raise self._no_column(name) if kind == "COLUMN" else self.none(kind.lower(), name)

    def drop_constraint(self, name: str) -> bool:
        """Drop a key or check by its name."""
        kept = [c for c in self.table.constraints if c.name.lower() != name.lower()]
        is_gone = len(kept) < len(self.table.constraints)
        self.table.constraints = kept
        return is_gone or self.table.undefault(name)

    def drop_index(self, name: str) -> bool:
        """Drop an index by its name."""
        kept = [i for i in self.table.indexes if i.name.lower() != name.lower()]
        is_gone = len(kept) < len(self.table.indexes)
        self.table.indexes = kept
        return is_gone

    def drop_primary_key(self, action: exp.Expr) -> None:
        """MySQL's DROP PRIMARY KEY."""
        self.table.constraints = [c for c in self.table.constraints if c.kind != "primary_key"]

    def rename_index(self, action: exp.Expr) -> None:
        """RENAME INDEX a TO b."""
        before, after = self.spelling.column(action.this), self.spelling.column(action.args["to"])
        if all(i.name != before for i in self.table.indexes):
            raise self.none("index", before)
        self.table.indexes = [replace(i, name=after) if i.name == before else i for i in self.table.indexes]

    def move(self, schema: str, name: str) -> None:
        """The table is called so from now on."""
        key = self.spelling.fold(schema, name)
        if key != self.key and key in self.draft.tables:
            raise self.said.wrong(f"{schema}.{name} is there already")
        del self.draft.tables[self.key]
        self.table.schema, self.table.name = schema, name
        self.draft.tables[key] = self.table
        self.key = key

    def rename_table(self, action: exp.Expr) -> None:
        """RENAME TO: into the same schema, unless another is named."""
        named = action.this
        schema = self.spelling.name(named.args["db"]) if named.args.get("db") else self.table.schema
        self.move(schema, self.spelling.name(named.this))

    def swap(self, action: exp.Expr) -> None:
        """SWAP WITH: each bears the other's name."""
        other_key = self.spelling.key(action.this)
        other = self.draft.tables.get(other_key)
        if other is None:
            raise missing(self.draft, self.spelling.shown(action.this), self.said)
        exchange(self.draft, self.key, other_key)

    def set_options(self, action: exp.Expr) -> None:
        """SET OPTIONS, of which the description is kept."""
        for properties in action.expressions:
            if isinstance(properties, exp.Properties):
                self.table.comment = description(properties.expressions) or self.table.comment

    def _change(self, name: str, changes: Mapping[str, object]) -> None:
        if not self.table.change(name, **changes):
            raise self._no_column(name)

    def _no_column(self, name: str) -> Exception:
        return self.none("column", name)

    def none(self, what: str, name: str) -> Exception:
        """There is no such column, key or index."""
        return self.said.wrong(f"{self.table.schema}.{self.table.name} has no {what} {name}")


_ACTIONS: Final[Mapping[type[exp.Expr], Callable[[Altering, exp.Expr], None]]] = {
    exp.ColumnDef: Altering.add,
    exp.Schema: Altering.add_many,
    exp.ReplaceColumns: Altering.replace_columns,
    exp.AddConstraint: Altering.constrain,
    exp.AlterColumn: Altering.alter,
    exp.ModifyColumn: Altering.modify,
    exp.RenameColumn: Altering.rename_column,
    exp.AlterRename: Altering.rename_table,
    exp.RenameIndex: Altering.rename_index,
    exp.DropPrimaryKey: Altering.drop_primary_key,
    exp.Drop: Altering.drop,
    exp.SwapTable: Altering.swap,
    exp.AlterSet: Altering.set_options,
}


def said_anew(column: Column) -> dict[str, object]:
    """All that a definition says of a column but its name."""
    return {
        "type": column.type,
        "nullable": column.nullable,
        "default": column.default,
        "comment": column.comment,
        "generated": column.generated,
        "numbering": column.numbering,
        "collation": column.collation,
    }


def exchange(draft: Draft, one: Key, other: Key) -> None:
    """Two tables bear one another's names from now on."""
    first, second = draft.tables[one], draft.tables[other]
    first.schema, second.schema = second.schema, first.schema
    first.name, second.name = second.name, first.name
    draft.tables[one], draft.tables[other] = second, first


def alter(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Alter) -> None:
    """Take an ALTER into the draft."""
    if str(tree.args.get("kind") or "").upper() == "INDEX":
        _rename_index(draft, spelling, said, tree)
        return
    key = spelling.key(tree.this)
    if key not in draft.tables:
        if tree.args.get("exists"):
            return
        raise missing(draft, spelling.shown(tree.this), said)
    change = Altering(draft, spelling, said, key)
    actions = tree.args.get("actions") or []
    target = next((o for o in tree.args.get("options") or () if isinstance(o, exp.ToTableProperty)), None)
    if target is not None and actions and isinstance(actions[0], exp.AlterRename):
        # `RENAME a TO b`, COLUMN left out, reads like a rename of the table.
        change.rename(spelling.column(actions[0].this), spelling.column(target.this))
        return
    for option in tree.args.get("options") or ():
        if isinstance(option, exp.SchemaCommentProperty):
            change.table.comment = option.this.name
    for action in actions:
        change.apply(action)


def _rename_index(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Alter) -> None:
    before = spelling.column(tree.this)
    for table in draft.tables.values():
        for place, index in enumerate(table.indexes):
            if index.name == before:
                for action in tree.args.get("actions") or ():
                    if isinstance(action, exp.AlterRename):
                        table.indexes[place] = replace(index, name=spelling.column(action.this))
                return
    if not tree.args.get("exists"):
        raise said.wrong(f"there is no index {before}")


def drop(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Drop) -> None:
    """Take a DROP into the draft."""
    kind = str(tree.args.get("kind") or "").upper()
    for named in tree.args.get("tables") or ():
        if kind == "SCHEMA":
            _drop_schema(draft, spelling.column(named))
            continue
        if not _drop_one(draft, spelling, kind, named) and not tree.args.get("exists"):
            if kind in ("TABLE", "VIEW"):
                raise missing(draft, spelling.shown(named), said)
            raise said.wrong(f"there is no {kind.lower()} {spelling.column(named)}")


def _drop_one(draft: Draft, spelling: Spelling, kind: str, named: exp.Expr) -> bool:
    key = spelling.key(named)
    if kind == "TYPE":
        return draft.enumerations.pop(key, None) is not None
    if kind == "SEQUENCE":
        return draft.sequences.pop(key, None) is not None
    if kind == "INDEX":
        name = key[1]
        holder = next((t for t in draft.tables.values() if any(i.name == name for i in t.indexes)), None)
        if holder is not None:
            holder.indexes = [i for i in holder.indexes if i.name != name]
        return holder is not None
    return draft.tables.pop(key, None) is not None


def _drop_schema(draft: Draft, schema: str) -> None:
    folded = schema.lower()
    for held in (draft.tables, draft.enumerations, draft.sequences):
        for key in [k for k in held if k[0].lower() == folded]:
            del held[key]


def comment(draft: Draft, spelling: Spelling, said: Statement, tree: exp.Comment) -> None:
    """COMMENT ON TABLE, VIEW, COLUMN; those on anything else are passed over."""
    kind = str(tree.args.get("kind") or "").upper()
    words = tree.args.get("expression")
    text = words.name if isinstance(words, exp.Expr) and not isinstance(words, exp.Null) else ""
    if kind == "COLUMN" and isinstance(tree.this, exp.Column):
        column = tree.this
        table = exp.Table(this=column.args.get("table"), db=column.args.get("db"))
        on_column(draft, spelling, said, table, spelling.name(column.this), text)
    elif kind in ("TABLE", "VIEW"):
        found = draft.tables.get(spelling.key(tree.this))
        if found is None:
            raise missing(draft, spelling.shown(tree.this), said)
        found.comment = text


def on_column(draft: Draft, spelling: Spelling, said: Statement, table: exp.Table, column: str, text: str) -> None:
    """Write a comment on a column."""
    found = draft.tables.get(spelling.key(table))
    if found is None:
        raise missing(draft, spelling.shown(table), said)
    if not found.change(column, comment=text):
        raise said.wrong(f"{found.schema}.{found.name} has no column {column}")
