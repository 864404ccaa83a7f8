"""What can be set about a PostgreSQL warehouse, and which of its schemas are looked at."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class PostgresOptions(BaseModel):
    """Settings of a PostgreSQL warehouse.

    Attributes:
        url: connection of the reader, a role that may only read.
        actor_url: connection of the actor, the role that applies fixes; without it nothing can be changed.
        schemas: shell patterns of the schemas to look at.
        exclude_schemas: shell patterns of schemas to leave out, stronger than `schemas`.
        statement_timeout_seconds: no statement runs longer.
        lock_timeout_seconds: no statement waits longer for a lock.
        scratch_schema: where the swarm tries things; never looked at, nor are schemas named after it
            (`<scratch>_marts`, as dbt makes them).
        owned_schema: where relations of the swarm live; never looked at unless `schemas` names it.
        sketch_rows: a table with more rows than this is sampled instead of counted, and not sketched.
        sketch_key: keys the hashes of values, so that they tell nothing outside this installation.
        connections: at most so many at once, opened when needed and closed after use.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr
    actor_url: SecretStr | None = None
    schemas: tuple[str, ...] = Field(default=("*",), min_length=1)
    exclude_schemas: tuple[str, ...] = ()
    statement_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    lock_timeout_seconds: float = Field(default=2.0, gt=0, le=600)
    scratch_schema: str = Field(default="dataswarm_scratch", min_length=1, max_length=63)
    owned_schema: str = Field(default="dataswarm", min_length=1, max_length=63)
    sketch_rows: int = Field(default=200_000, ge=0)
    sketch_key: SecretStr = SecretStr("")
    connections: int = Field(default=3, ge=1, le=20)

    @property
    def named_schemas(self) -> tuple[str, ...]:
        """The schemas named outright, without a wildcard."""
        return tuple(s for s in self.schemas if not any(c in s for c in "*?["))

    def looks_at(self, schema: str) -> bool:
        """Is a schema one of those to look at?"""
        if _covered(schema, self.exclude_schemas):
            return False
        own = schema in (self.scratch_schema, self.owned_schema)
        if (own or schema.startswith(f"{self.scratch_schema}_")) and schema not in self.named_schemas:
            return False
        return _covered(schema, self.schemas)


def _covered(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
