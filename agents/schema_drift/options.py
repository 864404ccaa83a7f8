"""What can be tuned."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field

from agents.schema_drift.looking import Bounds
from agents.structure.meaning import Override


class SchemaDriftOptions(BaseModel):
    """What can be tuned.

    Attributes:
        skip: shell patterns over `schema.table` that are not looked at: the swarm's own schemas, and what a dbt run
            puts up for moments.
        overrides: owners' own classification of changes (`asset`, `change`, `readers`, `writers`, `why`); of several
            that cover a change, the last one counts.
        whole_minutes: the catalog is read at least that often, even where a cheap fingerprint says that nothing
            changed: a net below it, and row estimates come with it.
        storm: a look with more changes than that tells the worst of them, and a summary of all.
        sketch_size: hashes kept a column; 0 keeps none, and then a table made anew is compared by names alone.
        sketch_columns: tables with more columns are not sketched.
        sketch_rows: tables with more rows, by the engine's estimate, are not sketched.
        sketch_minutes: a sketch older than this is taken again.
        tables_per_look: tables sketched in one look at most.
        table_seconds: longest time spent on one table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    skip: tuple[str, ...] = ("dataswarm.*", "dataswarm_scratch*.*", "*__dbt_tmp*", "*__dbt_backup*")
    overrides: tuple[Override, ...] = ()
    whole_minutes: float = Field(default=60.0, gt=0)
    storm: int = Field(default=100, ge=1)
    sketch_size: int = Field(default=48, ge=0, le=1000)
    sketch_columns: int = Field(default=100, ge=0)
    sketch_rows: int = Field(default=200_000, ge=0)
    sketch_minutes: float = Field(default=15.0, gt=0)
    tables_per_look: int = Field(default=10, ge=0)
    table_seconds: float = Field(default=5.0, gt=0)

    @property
    def bounds(self) -> Bounds:
        """How much a look may look into."""
        return Bounds(
            columns=self.sketch_columns,
            rows=self.sketch_rows,
            size=self.sketch_size,
            looks=self.tables_per_look if self.sketch_size else 0,
            seconds=self.table_seconds,
            every=timedelta(minutes=self.sketch_minutes),
        )

    @cached_property
    def digest(self) -> str:
        """Of what decides which tables are known: with another one, the catalog is compared anew."""
        told = repr(
            (self.skip, self.sketch_columns, self.sketch_rows, bool(self.sketch_size), self.tables_per_look > 0)
        )
        return hashlib.sha256(told.encode()).hexdigest()[:16]
