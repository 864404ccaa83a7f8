"""What a producer's migration does to a raw table: in place, or by creating it anew and swapping.

Every function works as the loader (who owns the tables) and keeps the producer's own notes of its names in step.
Where PostgreSQL would refuse because a view hangs on a column, the migration takes the view along, as migrations do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection, sql

from dataswarm.demo.faults.catalogue import Way
from dataswarm.demo.loader import names_of


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of one raw table, in the names of today.

    Attributes:
        table: the table's first name (how the producer's notes know it).
        new_name: the table's next name; empty to keep it.
        renamed: next name by the column's name of today.
        retyped: next PostgreSQL type by column.
        dropped: columns to drop.
        added: PostgreSQL type by new nullable column.
        moved: columns that stand last, in this order, in a table created anew.
        comments: comment by the column's next name.
    """

    table: str
    new_name: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    retyped: dict[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    added: dict[str, str] = field(default_factory=dict)
    moved: tuple[str, ...] = ()
    comments: dict[str, str] = field(default_factory=dict)

    def run(self, connection: Connection[Any], way: Way) -> None:
        """Change the table and the producer's notes; the caller holds the transaction and the loader's role."""
        names = names_of(connection, self.table)
        if way == "alter":
            self._alter(connection, names.table)
        else:
            self._recreate(connection, names.table)
        relation = sql.Identifier("raw", self.new_name or names.table)
        for column, comment in self.comments.items():
            connection.execute(
                sql.SQL("comment on column {}.{} is {}").format(relation, sql.Identifier(column), sql.Literal(comment))
            )
        self._note(connection)

    def _note(self, connection: Connection[Any]) -> None:
        if self.new_name:
            connection.execute(
                "update producer.tables set current_name = %s where table_key = %s", (self.new_name, self.table)
            )
        for old, new in [*self.renamed.items(), *((column, None) for column in self.dropped)]:
            connection.execute(
                "update producer.columns set current_name = %s where table_key = %s and current_name = %s",
                (new, self.table, old),
            )

    def _alter(self, connection: Connection[Any], name: str) -> None:
        relation = sql.Identifier("raw", name)

        def alter(action: sql.Composable) -> None:
            connection.execute(sql.SQL("alter table {} {}").format(relation, action))

        def rename(old: str, new: str) -> None:
            alter(sql.SQL("rename column {} to {}").format(sql.Identifier(old), sql.Identifier(new)))

        def drop(column: str) -> None:
            alter(sql.SQL("drop column {} cascade").format(sql.Identifier(column)))

        def add(column: str, kind: str) -> None:
            alter(sql.SQL("add column {} {}").format(sql.Identifier(column), _type(kind)))

        for column, kind in self.retyped.items():
            # Expand and contract: a type cannot be changed in place under somebody else's view.
            fresh = f"{column}_new"
            add(fresh, kind)
            connection.execute(
                sql.SQL("update {} set {} = {}::{}").format(
                    relation, sql.Identifier(fresh), sql.Identifier(column), _type(kind)
                )
            )
            drop(column)
            rename(fresh, column)
        for column in self.dropped:
            drop(column)
        for old, new in self.renamed.items():
            rename(old, new)
        for column, kind in self.added.items():
            add(column, kind)
        if self.new_name:
            alter(sql.SQL("rename to {}").format(sql.Identifier(self.new_name)))

    def _recreate(self, connection: Connection[Any], name: str) -> None:
        found = connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum",
            (f"raw.{name}",),
        ).fetchall()
        kept = [(str(column), str(kind)) for column, kind in found if column not in self.dropped]
        kept.sort(key=lambda pair: self.moved.index(pair[0]) + 1 if pair[0] in self.moved else 0)
        definitions, sources = [], []
        for column, kind in kept:
            wanted = self.retyped.get(column, kind)
            definitions.append((self.renamed.get(column, column), wanted))
            sources.append(sql.SQL("{}::{}").format(sql.Identifier(column), _type(wanted)))
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(column), _type(kind))
            for column, kind in (*definitions, *self.added.items())
        ]
        old, fresh = sql.Identifier("raw", name), sql.Identifier("raw", f"{name}__new")
        connection.execute(sql.SQL("create table {} ({})").format(fresh, sql.SQL(", ").join(columns)))
        targets = sql.SQL(", ").join(sql.Identifier(column) for column, _ in definitions)
        connection.execute(
            sql.SQL("insert into {} ({}) select {} from {}").format(fresh, targets, sql.SQL(", ").join(sources), old)
        )
        connection.execute(sql.SQL("drop table {} cascade").format(old))
        final = sql.Identifier(self.new_name or name)
        connection.execute(sql.SQL("alter table {} rename to {}").format(fresh, final))


def _type(name: str) -> sql.Composable:
    # Types come from this package's own pages and from format_type(), never from outside.
    return sql.SQL(name)
