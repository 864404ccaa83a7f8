"""The catalog of a folder of files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from integrations.base import Catalog, Column, Table
from integrations.duck import Session, fingerprint, normalised
from integrations.warehouses.files.folder import FileTable, Folder
from integrations.warehouses.files.known import Known
from integrations.warehouses.files.union import Union, unite


def read_catalog(session: Session, folder: Folder, known: Known) -> Catalog:
    """Every table with the columns its files have together."""
    now = session.rows("select epoch_us(now()) as now")[0]["now"]
    known.forget(folder)
    tables = tuple(
        _table(folder.schema, table, unite(session, table, known.structures(session, table))) for table in folder.tables
    )
    return Catalog(tables, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now), fingerprint(tables))


def _table(schema: str, table: FileTable, union: Union) -> Table:
    return Table(
        schema=schema,
        name=table.name,
        columns=tuple(
            Column(name=c.name, position=place, type=normalised(c.type), nullable=c.nullable)
            for place, c in enumerate(union.columns, start=1)
        ),
        kind="table",
        rows=union.rows,
        partitioning=f"folders ({', '.join(table.keys)})" if table.keys else "",
    )
