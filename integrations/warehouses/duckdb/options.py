"""What can be set about a DuckDB file, and which of its schemas are looked at."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from integrations.warehouses import scope


class DuckdbOptions(BaseModel):
    """Settings of a DuckDB database file.

    Attributes:
        path: the file.
        actor: may the swarm write into it? It is then opened for writing while a remedy is applied.
        schemas: shell patterns of the schemas to look at.
        exclude_schemas: shell patterns of schemas to leave out, stronger than `schemas`.
        statement_timeout_seconds: no statement runs longer.
        memory_limit: what DuckDB may use of this process's memory; it spills nothing to disk.
        threads: how many threads it may use.
        sketch_rows: a table with more rows than this is sampled instead of counted, and not sketched.
        sketch_key: keys the hashes of values, so that they tell nothing outside this installation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    actor: bool = False
    schemas: tuple[str, ...] = Field(default=("*",), min_length=1)
    exclude_schemas: tuple[str, ...] = ()
    statement_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    memory_limit: str = Field(default="1GB", pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")
    threads: int = Field(default=2, ge=1, le=256)
    sketch_rows: int = Field(default=200_000, ge=0)
    sketch_key: SecretStr = SecretStr("")

    @property
    def named_schemas(self) -> tuple[str, ...]:
        """The schemas named outright, without a wildcard."""
        return scope.outright(self.schemas)

    def looks_at(self, schema: str) -> bool:
        """Is a schema one of those to look at?"""
        return scope.covers(schema, self.schemas) and not scope.covers(schema, self.exclude_schemas)
