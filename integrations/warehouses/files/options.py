"""What can be set about a folder of files."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from integrations.warehouses import scope


class FilesOptions(BaseModel):
    """Settings of a folder of files.

    Attributes:
        path: a folder, one file, or a pattern (`*`, `?`, `[…]`, `**`) whose matches are taken like a folder's entries.
        schema_name: the schema its tables are shown in; empty: the folder's name.
        include: shell patterns of the files to look at, relative to the folder (`*` matches a slash as well).
        exclude: shell patterns of files to leave out, stronger than `include`.
        sample_rows: so many rows of a CSV or JSON file tell its columns and types.
        statement_timeout_seconds: no statement runs longer.
        memory_limit: what DuckDB may use of this process's memory; it spills nothing to disk.
        threads: how many threads it may use.
        sketch_rows: a table with more rows than this is sampled instead of counted, and not sketched.
        sketch_key: keys the hashes of values, so that they tell nothing outside this installation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    schema_name: str = Field(default="", max_length=200)
    include: tuple[str, ...] = Field(default=("*",), min_length=1)
    exclude: tuple[str, ...] = ()
    sample_rows: int = Field(default=20_480, ge=100, le=10_000_000)
    statement_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    memory_limit: str = Field(default="1GB", pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$")
    threads: int = Field(default=2, ge=1, le=256)
    sketch_rows: int = Field(default=200_000, ge=0)
    sketch_key: SecretStr = SecretStr("")

    def looks_at(self, relative: str) -> bool:
        """Is a file one of those to look at?"""
        return scope.covers(relative, self.include) and not scope.covers(relative, self.exclude)
