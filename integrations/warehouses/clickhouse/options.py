"""What can be set about a ClickHouse server, and which of its databases are looked at."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from integrations.warehouses import scope

SYSTEM: Final = ("system", "INFORMATION_SCHEMA", "information_schema")


class ClickhouseOptions(BaseModel):
    """Settings of a ClickHouse server; its databases are the schemas.

    Attributes:
        url: `http://user:password@host:8123/database` of the reader, a user that may only read (`https` as well), or
            `chdb:///path` of an embedded one.
        actor_url: the same of the actor, the user that applies fixes; without it nothing can be changed.
        schemas: shell patterns of the databases to look at.
        exclude_schemas: shell patterns of databases to leave out, stronger than `schemas`.
        statement_timeout_seconds: no statement runs longer.
        sketch_rows: a table with more rows than this is sampled instead of counted, and not sketched.
        sketch_key: keys the hashes of values, so that they tell nothing outside this installation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr
    actor_url: SecretStr | None = None
    schemas: tuple[str, ...] = Field(default=("*",), min_length=1)
    exclude_schemas: tuple[str, ...] = ()
    statement_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    sketch_rows: int = Field(default=200_000, ge=0)
    sketch_key: SecretStr = SecretStr("")

    @property
    def named_schemas(self) -> tuple[str, ...]:
        """The databases named outright, without a wildcard."""
        return scope.outright(self.schemas)

    def looks_at(self, schema: str) -> bool:
        """Is a database one of those to look at?"""
        if schema in SYSTEM or scope.covers(schema, self.exclude_schemas):
            return False
        return scope.covers(schema, self.schemas)
