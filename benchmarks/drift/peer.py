"""Alembic's autogenerate and a loop over SQLAlchemy's Inspector answer here. Imports nothing of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from time import perf_counter
from typing import Any

SCHEMA = "public"
RELATIONS = {"add_table": "table_added", "remove_table": "table_dropped"}
COLUMNS = {
    "add_column": "column_added",
    "remove_column": "column_dropped",
    "modify_type": "column_retyped",
    "modify_nullable": "column_altered",
}


class Peers:
    """Both on one database. `metadata` is what Alembic compares with: the database as it was."""

    def __init__(self, url: str) -> None:
        self._alchemy = import_module("sqlalchemy")  # only in their own Python
        self._engine = self._alchemy.create_engine(url)
        self._metadata = self._alchemy.MetaData()

    def remember(self) -> dict[str, Any]:
        """Take the database as it is for what it should be."""
        self._metadata = self._alchemy.MetaData()
        began = perf_counter()
        with self._engine.connect() as connection:
            self._metadata.reflect(connection)
        return {"tables": len(self._metadata.tables), "seconds": perf_counter() - began}

    def scan(self) -> dict[str, Any]:
        """Each table by itself, as scripts that watch a schema do it."""
        began, columns = perf_counter(), 0
        with self._engine.connect() as connection:
            inspector = self._alchemy.inspect(connection)
            for table in inspector.get_table_names(schema=SCHEMA):
                columns += len(inspector.get_columns(table, schema=SCHEMA))
                inspector.get_pk_constraint(table, schema=SCHEMA)
                inspector.get_foreign_keys(table, schema=SCHEMA)
                inspector.get_indexes(table, schema=SCHEMA)
                inspector.get_unique_constraints(table, schema=SCHEMA)
                inspector.get_check_constraints(table, schema=SCHEMA)
                inspector.get_table_comment(table, schema=SCHEMA)
        return {"columns": columns, "seconds": perf_counter() - began}

    def compare(self) -> dict[str, Any]:
        """What `alembic revision --autogenerate` finds; the database is read for it."""
        autogenerate = import_module("alembic.autogenerate")
        context = import_module("alembic.migration").MigrationContext
        began = perf_counter()
        with self._engine.connect() as connection:
            # Alembic says what would turn the database into the metadata: the way back.
            found = autogenerate.compare_metadata(context.configure(connection), self._metadata)
        seconds = perf_counter() - began
        return {"changes": sorted(_changes(found)), "seconds": seconds}


def _changes(found: list[Any]) -> Iterator[list[str]]:
    back = {"add_table": "remove_table", "remove_table": "add_table"}
    back |= {"add_column": "remove_column", "remove_column": "add_column"}
    for one in found:
        for change in one if isinstance(one, list) else [one]:
            name = back.get(change[0], change[0])
            if name in RELATIONS:
                yield [RELATIONS[name], change[1].name, ""]
            elif name in ("add_column", "remove_column"):
                yield [COLUMNS[name], change[2], change[3].name]
            elif name in COLUMNS:
                yield [COLUMNS[name], change[2], change[3]]
            else:
                yield [name, "", ""]


def main() -> None:
    """Answer until there are no more orders."""
    peers: Peers | None = None
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "open":
            peers = Peers(order["url"])
            answer: dict[str, Any] = {}
        else:
            answer = getattr(peers, order["do"])()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
