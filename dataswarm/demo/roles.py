"""Who may do what in the shop: every party is a login of its own, and none can read the saboteur's records.

The swarm's two roles are what `dataswarm init --print-grants` would ask of an owner, plus what the demo's owner opts
in to: moving rows of raw tables and putting compatibility views beside them.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

from psycopg import Connection, sql

WAREHOUSE: Final = "shop"
TWIN: Final = "shop_twin"

ROLES: Final = ("loader", "dbt_team", "swarm_reader", "swarm_actor", "saboteur", "grader")

# Only the server's owner comes in without a password.
HOST_RULES: Final = "local all postgres trust\nlocal all all scram-sha-256\n"

_MEMBERSHIPS: Final[LiteralString] = """
grant dbt_team to swarm_actor;
grant loader to saboteur;
grant pg_read_all_data to grader;
-- An operator's right: to end somebody's session.
grant pg_signal_backend to saboteur;
-- A build that waits longer than this for somebody's lock fails, as in most shops.
alter role dbt_team set lock_timeout = '2s';
"""

_SCHEMAS: Final[LiteralString] = """
revoke all on schema public from public;
create schema raw authorization loader;
create schema producer authorization loader;
create schema analytics authorization dbt_team;
create schema dataswarm authorization swarm_actor;
create schema dataswarm_scratch authorization swarm_actor;
create schema sabotage authorization saboteur;

grant usage on schema raw to dbt_team, swarm_reader;
grant usage, create on schema raw to swarm_actor;
grant usage on schema analytics to swarm_reader, swarm_actor, saboteur;
grant usage on schema dataswarm to dbt_team, swarm_reader;
grant all on schema dataswarm_scratch to dbt_team;
grant usage on schema dataswarm_scratch to swarm_reader;

alter default privileges for role loader in schema raw grant select on tables to dbt_team, swarm_reader;
alter default privileges for role loader in schema raw
    grant select, insert, update, delete on tables to swarm_actor;
alter default privileges for role dbt_team grant select on tables to swarm_reader, swarm_actor, saboteur;
alter default privileges for role swarm_actor in schema raw grant select on tables to dbt_team, swarm_reader;
alter default privileges for role swarm_actor in schema dataswarm
    grant select on tables to dbt_team, swarm_reader;
alter default privileges for role swarm_actor in schema dataswarm_scratch
    grant select on tables to dbt_team, swarm_reader;
"""


def create_roles(connection: Connection[Any], passwords: dict[str, str]) -> None:
    """Make every role with its password and memberships. The connection is the server owner's."""
    # Nobody guesses a password that chance made: hashed slowly, it would only cost each of dbt's many connections.
    connection.execute("set scram_iterations = 1")
    for role in ROLES:
        connection.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(role), sql.Literal(passwords[role]))
        )
    connection.execute(_MEMBERSHIPS)


def create_warehouse(connection: Connection[Any]) -> None:
    """Make the empty warehouse database. The connection is the server owner's, outside a transaction."""
    connection.execute(sql.SQL("create database {}").format(sql.Identifier(WAREHOUSE)))
    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(WAREHOUSE)))
    everyone = sql.SQL(", ").join(map(sql.Identifier, ROLES))
    connection.execute(
        sql.SQL("grant connect, temporary on database {} to {}").format(sql.Identifier(WAREHOUSE), everyone)
    )
    connection.execute(
        sql.SQL("grant create on database {} to dbt_team, swarm_actor").format(sql.Identifier(WAREHOUSE))
    )


def create_schemas(connection: Connection[Any]) -> None:
    """Make the schemas and grants inside the warehouse. The connection is the server owner's."""
    connection.execute(_SCHEMAS)


def create_twin(connection: Connection[Any]) -> None:
    """Copy the warehouse as it is now into the golden twin, which none but the grader may enter.

    The connection is the server owner's, outside a transaction, and nobody may be connected to the warehouse.
    """
    connection.execute(
        sql.SQL("create database {} template {}").format(sql.Identifier(TWIN), sql.Identifier(WAREHOUSE))
    )
    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(TWIN)))
    connection.execute(sql.SQL("grant all on database {} to grader").format(sql.Identifier(TWIN)))


def open_twin(connection: Connection[Any]) -> None:
    """Let the grader load and build in the twin. The connection is the server owner's, to the twin."""
    connection.execute("grant all on schema raw, producer, analytics to grader")
    connection.execute("grant all on all tables in schema raw, producer to grader")
    connection.execute("create schema grading authorization grader")
