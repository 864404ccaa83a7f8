"""What `doctor` says of a PostgreSQL warehouse: reachable, rights enough, and not too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from integrations.base import Finding
from integrations.warehouses.postgres.options import PostgresOptions

_ROLE = """
select r.rolname as name, r.rolsuper as superuser, r.rolcreaterole as createrole, r.rolbypassrls as bypassrls,
       r.rolreplication as replication, pg_catalog.current_setting('server_version') as version,
       pg_catalog.current_database()::text as database,
       coalesce((select pg_catalog.has_language_privilege(l.oid, 'USAGE')
                   from pg_catalog.pg_language l where l.lanname = 'plpgsql'), false) as plpgsql
  from pg_catalog.pg_roles r where r.rolname = current_user
"""

_SCHEMAS = """
select n.nspname as name, pg_catalog.has_schema_privilege(n.oid, 'USAGE') as usable,
       pg_catalog.has_schema_privilege(n.oid, 'CREATE') as creatable
  from pg_catalog.pg_namespace n
 where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""

_TABLES = """
select n.nspname as schema, c.relname as name,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
         or pg_catalog.has_any_column_privilege(c.oid, 'SELECT') as readable,
       pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
         or pg_catalog.pg_has_role(c.relowner, 'USAGE') as writable
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname = any(%s::text[])
 order by 1, 2
"""
_SHOWN = 3
_GRANTS = "`dataswarm init --print-grants` lists what the role needs"


async def examine_reader(connection: AsyncConnection[DictRow], options: PostgresOptions) -> list[Finding]:
    """Findings about the reader; `connection` is inside a transaction of it."""
    role = await _one(connection, _ROLE)
    findings = [
        Finding(True, f"reader {role['name']} reaches PostgreSQL {role['version']}, database {role['database']}")
    ]
    powers = [p for p in ("superuser", "createrole", "bypassrls", "replication") if role[p]]
    if powers:
        findings.append(
            Finding(
                False,
                f"reader {role['name']} has too many rights: {', '.join(powers)}",
                "give `url` a role that may only read; " + _GRANTS,
            )
        )
    if not role["plpgsql"]:
        findings.append(
            Finding(
                False,
                f"reader {role['name']} may not use the language plpgsql, by which views are read",
                "grant usage on language plpgsql to it",
            )
        )
    schemas = {r["name"]: r for r in await _all(connection, _SCHEMAS)}
    looked_at = [name for name in schemas if options.looks_at(name)]
    findings += [
        Finding(False, f"schema {name} does not exist", "check `schemas` of this source")
        for name in options.named_schemas
        if name not in schemas
    ]
    shut = [name for name in looked_at if not schemas[name]["usable"]]
    if shut:
        findings.append(
            Finding(False, f"reader may not look into schema {_some(shut)}", "grant usage on it; " + _GRANTS)
        )
    if not looked_at:
        findings.append(Finding(False, "no schema matches `schemas`", "check the patterns of this source"))
    tables = await _all(connection, _TABLES, ([n for n in looked_at if schemas[n]["usable"]],))
    unread = [f"{t['schema']}.{t['name']}" for t in tables if not t["readable"]]
    if unread:
        findings.append(Finding(False, f"reader may not read {_some(unread)}", "grant select on it; " + _GRANTS))
    written = [f"{t['schema']}.{t['name']}" for t in tables if t["writable"]]
    written += [name for name in looked_at if schemas[name]["creatable"] and name != "public"]
    if written and not powers:
        findings.append(
            Finding(
                False,
                f"reader {role['name']} has too many rights: it may change {_some(written)}",
                "revoke them, or give `url` a role that may only read; " + _GRANTS,
            )
        )
    if all(f.ok for f in findings):
        findings.append(Finding(True, f"reads {len(tables)} tables in {len(looked_at)} schemas, changes none"))
    if not options.sketch_key.get_secret_value():
        findings.append(Finding(True, "sketches are not keyed", "set sketch_key to a random text of your own"))
    return findings


async def examine_actor(connection: AsyncConnection[DictRow], options: PostgresOptions) -> list[Finding]:
    """Findings about the actor; `connection` is inside a transaction of it."""
    role = await _one(connection, _ROLE)
    powers = [p for p in ("superuser", "createrole", "bypassrls", "replication") if role[p]]
    findings = [Finding(True, f"actor {role['name']} reaches database {role['database']}")]
    if powers:
        findings.append(
            Finding(
                False,
                f"actor {role['name']} has too many rights: {', '.join(powers)}",
                "give `actor_url` a role of its own; " + _GRANTS,
            )
        )
    schemas = {r["name"]: r for r in await _all(connection, _SCHEMAS)}
    for name in (options.scratch_schema, options.owned_schema):
        if name not in schemas:
            findings.append(Finding(False, f"schema {name} does not exist", "create it; " + _GRANTS))
        elif not schemas[name]["creatable"]:
            findings.append(Finding(False, f"actor may not create in schema {name}", "grant create on it; " + _GRANTS))
    return findings


async def _all(
    connection: AsyncConnection[DictRow], query: str, parameters: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    return await (await connection.execute(query, parameters)).fetchall()


async def _one(connection: AsyncConnection[DictRow], query: str) -> dict[str, Any]:
    return (await _all(connection, query))[0]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
