"""What can be set about a warehouse that is reached by a SQLAlchemy URL."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from integrations.warehouses import scope


class SqlOptions(BaseModel):
    """Settings of a warehouse reached by a SQLAlchemy URL.

    Attributes:
        url: SQLAlchemy URL of the reader, a role that may only read (`mysql://reader:…@host/shop`,
            `sqlite:////srv/shop.db`). `mysql` and `mariadb` go by PyMySQL where no driver is named.
        actor_url: URL of the actor, the role that applies fixes; without it nothing can be changed.
        schemas: shell patterns of the schemas to look at (MySQL's databases; SQLite has `main`). The engine's own are
            looked at only if named outright.
        exclude_schemas: shell patterns of schemas to leave out, stronger than `schemas`.
        statement_timeout_seconds: no statement runs longer, where the engine can be told; a look as a whole is given
            up after four times as long and five seconds to connect, whatever the engine does.
        lock_timeout_seconds: no statement waits longer for a lock, where the engine can be told.
        scratch_schema: where the swarm tries things; never looked at, nor are schemas named after it.
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
        return scope.outright(self.schemas)

    def looks_at(self, schema: str) -> bool:
        """Is a schema one of those to look at?"""
        if scope.covers(schema, self.exclude_schemas):
            return False
        own = scope.is_own(schema, scratch=self.scratch_schema, owned=self.owned_schema)
        if own and schema not in self.named_schemas:
            return False
        return scope.covers(schema, self.schemas)
