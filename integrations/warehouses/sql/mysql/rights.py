"""What `doctor` says of a MySQL or MariaDB role: reached, rights enough, and not too many."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, CursorResult

from integrations.base import Finding
from integrations.warehouses.sql.inspected import is_wanted
from integrations.warehouses.sql.options import SqlOptions

_WHO = "select current_user() as who, version() as version"
_SCHEMATA = "select schema_name as name from information_schema.schemata"
# Of a table's the schema is asked for too: either name may hold a dot.
_PRIVILEGES = """
select p.place, p.name, p.privilege from (
  select grantee, '' as place, '' as name, privilege_type as privilege from information_schema.user_privileges
  union all
  select grantee, table_schema, table_schema, privilege_type from information_schema.schema_privileges
  union all
  select grantee, table_schema, concat(table_schema, '.', table_name), privilege_type
    from information_schema.table_privileges
) p where p.grantee in ({who}) order by 1, 2, 3
"""
_ROLES = "select role_name as role from information_schema.enabled_roles where role_name is not null"
_READING = frozenset(
    {
        "SELECT",
        "USAGE",
        "SHOW VIEW",
        "SHOW DATABASES",
        "PROCESS",
        "REPLICATION CLIENT",
        "BINLOG MONITOR",
        "SLAVE MONITOR",
    }
    | {"EXECUTE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE"}
)
_SHOWN = 3
_LEAST = "create a role with no more than `grant select, show view on shop.* to …`"


def examine_role(connection: Connection, options: SqlOptions, *, writes: bool) -> list[Finding]:
    """Findings about one of the two roles."""
    told = _asked(connection, _WHO).mappings().one()
    dialect: Any = connection.dialect
    engine = "MariaDB" if dialect.is_mariadb else "MySQL"
    who = "actor" if writes else "reader"
    findings = [Finding(True, f"{who} {told['who']} reaches {engine} {told['version']}")]
    if not dialect.is_mariadb:
        findings.append(
            Finding(True, "MySQL is untested against a live server; it is read as MariaDB is", "see docs/engines.md")
        )
    held = _held(connection, told["who"])
    if writes:
        return findings + _too_mighty(held, told["who"])
    present = [r[0] for r in _asked(connection, _SCHEMATA)]
    findings += [
        Finding(
            False, f"schema {name} does not exist, or the reader may not see it", "check `schemas`, or grant select"
        )
        for name in options.named_schemas
        if name not in present
    ]
    looked_at = [n for n in present if is_wanted(n, options)]
    if not looked_at:
        findings.append(Finding(False, "no schema matches `schemas`", "check the patterns of this source; " + _LEAST))
    changing = [
        f"{privilege.lower()} on {name or 'everything'}"
        for schema, name, privilege in held
        if privilege.upper() not in _READING and (not schema or is_wanted(schema, options))
    ]
    if changing:
        findings.append(Finding(False, f"reader {told['who']} has too many rights: {_some(changing)}", _LEAST))
    if all(f.ok for f in findings):
        findings.append(Finding(True, f"reads {len(looked_at)} schemas, changes none"))
    return findings


def _too_mighty(held: list[tuple[str, str, str]], who: str) -> list[Finding]:
    mighty = [p for schema, _, p in held if not schema and p.upper() in ("SUPER", "FILE", "CREATE USER", "SHUTDOWN")]
    if not mighty:
        return []
    return [Finding(False, f"actor {who} has too many rights: {_some(mighty)}", "give `actor_url` a role of its own")]


def _held(connection: Connection, who: str) -> list[tuple[str, str, str]]:
    """(schema, name of schema or table, privilege) of the role, and in MariaDB of those it is by default."""
    user, _, host = who.rpartition("@")
    names = [f"'{user}'@'{host}'"]
    dialect: Any = connection.dialect
    if dialect.is_mariadb:
        names += [f"'{r[0]}'@''" for r in _asked(connection, _ROLES)]
    listed = ", ".join("'" + n.replace("\\", "\\\\").replace("'", "''") + "'" for n in names)
    rows = _asked(connection, _PRIVILEGES.format(who=listed)).mappings()
    return [(r["place"], r["name"], r["privilege"]) for r in rows]


def _asked(connection: Connection, sql: str) -> CursorResult[Any]:
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
