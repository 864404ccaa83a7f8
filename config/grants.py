"""The SQL an owner runs to let the swarm into a PostgreSQL warehouse: two roles with as little as will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

OWNED_SCHEMA = "dataswarm"
SCRATCH_SCHEMA = "dataswarm_scratch"


@dataclass(frozen=True, slots=True)
class Grants:
    """Whom to let in, and where.

    Attributes:
        database: the warehouse's database.
        schemas: what is looked at; each must exist.
        owners: roles that create tables there (the loader's, dbt's); new tables of theirs become readable.
        reader, actor: the roles to make.
        statement_timeout_seconds: the longest a statement of theirs may take.
    """

    database: str
    schemas: Sequence[str] = ("public",)
    owners: Sequence[str] = field(default_factory=tuple)
    reader: str = "dataswarm_reader"
    actor: str = "dataswarm_actor"
    statement_timeout_seconds: int = 30

    def sql(self) -> str:
        """The statements with comments, to be read before they are run with `psql` as an administrator."""
        reader, actor, both = _name(self.reader), _name(self.actor), f"{_name(self.reader)}, {_name(self.actor)}"
        lines = [
            *_comment(f"The two roles dataswarm works with in the database {self.database!r}."),
            *_comment("Run it as an administrator connected to that database. It grants, and takes nothing away."),
            *_comment("Passwords are set apart, so that none stands in a file or a shell history:"),
            *_comment(f"  \\password {reader}"),
            *_comment(f"  \\password {actor}"),
            "",
            "BEGIN;",
            "",
            *_comment("The reader looks at structure, counts and rows, and can change nothing."),
            *self._role(reader, read_only=True),
            "",
            *_comment("The actor applies repairs that policy allows. Leave it out (and actor_url) to only watch."),
            *self._role(actor, read_only=False),
            "",
            f"GRANT CONNECT ON DATABASE {_name(self.database)} TO {both};",
            "",
        ]
        for schema in self.schemas:
            lines += [
                f"GRANT USAGE ON SCHEMA {_name(schema)} TO {both};",
                f"GRANT SELECT ON ALL TABLES IN SCHEMA {_name(schema)} TO {both};",
            ]
        lines += ["", *self._future(both), *self._own_schemas(reader, actor), "", "COMMIT;", "", *self._opt_in(actor)]
        return "\n".join(lines) + "\n"

    def _role(self, role: str, *, read_only: bool) -> list[str]:
        return [
            f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;",
            f"ALTER ROLE {role} CONNECTION LIMIT {10 if read_only else 5};",
            f"ALTER ROLE {role} SET statement_timeout = '{self.statement_timeout_seconds}s';",
            f"ALTER ROLE {role} SET lock_timeout = '2s';",
            f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '60s';",
            *([f"ALTER ROLE {role} SET default_transaction_read_only = on;"] if read_only else []),
        ]

    def _future(self, both: str) -> list[str]:
        """Default privileges belong to whoever creates a table, so each owner is named."""
        lines = _comment("Tables made later. Default privileges follow the role that creates them: name each one.")
        for schema in self.schemas:
            for owner in self.owners or ("the_role_that_creates_tables",):
                said = (
                    f"ALTER DEFAULT PRIVILEGES FOR ROLE {_name(owner)} IN SCHEMA {_name(schema)}"
                    f" GRANT SELECT ON TABLES TO {both};"
                )
                lines.append(said if self.owners else f"-- {said}")
        return [*lines, ""]

    def _own_schemas(self, reader: str, actor: str) -> list[str]:
        lines = _comment("The swarm's own schemas: what a repair adds or sets aside, and where it tries things.")
        for schema in (OWNED_SCHEMA, SCRATCH_SCHEMA):
            lines += [
                f"CREATE SCHEMA {schema} AUTHORIZATION {actor};",
                f"REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;",
                f"GRANT USAGE ON SCHEMA {schema} TO {reader};",
                f"ALTER DEFAULT PRIVILEGES FOR ROLE {actor} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};",
            ]
        return lines

    def _opt_in(self, actor: str) -> list[str]:
        lines = _comment("Not needed, and yours to give. Compatibility views stand beside the table they stand in for:")
        lines += [f"-- GRANT CREATE ON SCHEMA {_name(schema)} TO {actor};" for schema in self.schemas]
        lines += [
            *_comment("Moving bad rows into quarantine, table by table:"),
            f"-- GRANT INSERT, DELETE ON {_name(self.schemas[0] if self.schemas else 'public')}.some_table TO {actor};",
            *_comment("dbt builds as the role in its own profile; its scratch target needs the first, the second"),
            *_comment("as well where models have schemas of their own (dbt names them after the scratch one):"),
            f"-- GRANT USAGE, CREATE ON SCHEMA {SCRATCH_SCHEMA} TO the_role_dbt_uses;",
            f"-- GRANT CREATE ON DATABASE {_name(self.database)} TO the_role_dbt_uses;",
            *_comment("Before PostgreSQL 15 everybody may create tables in the schema public, these roles too:"),
            "-- REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
        ]
        return lines


def _name(identifier: str) -> str:
    """A quoted identifier; always quoted, so that a schema called `order` or `Raw` is no surprise."""
    return '"' + identifier.replace('"', '""') + '"'


def _comment(text: str) -> list[str]:
    """Comment lines; a line break in a name must not end the comment."""
    return ["-- " + " ".join(text.splitlines())]
