"""What is done once, when a world is made: roles, databases, history, and the twin set aside."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from dataswarm.demo import loader, roles
from dataswarm.demo.raw_tables import TABLES

if TYPE_CHECKING:
    from dataswarm.demo.world import World


def fill(world: World, end: datetime, progress: Callable[[str], None]) -> None:
    """Give a running, empty server its roles, databases and history.

    Args:
        world: its server is running and was never filled.
        end: the load time of the last batch of the history, aware.
        progress: told what is being done.
    """
    with _owner(world, "postgres") as server:
        roles.create_roles(server, world.passwords)
        roles.create_warehouse(server)
        (world.pgdata / "pg_hba.conf").write_text(roles.HOST_RULES)
        # A log of few, sparse files makes a world quick to copy.
        for setting, value in (("min_wal_size", "32MB"), ("wal_recycle", "off"), ("wal_init_zero", "off")):
            server.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(setting), sql.Literal(value)))
        server.execute("select pg_reload_conf()")
    with _owner(world, roles.WAREHOUSE) as warehouse:
        roles.create_schemas(warehouse)
    progress(f"loading {world.history_days} days of history into {len(TABLES)} raw tables")
    last = world.history_days - 1
    times = {day: end - timedelta(days=last - day, minutes=7) for day in range(world.history_days)}
    with world.connect("loader") as connection:
        loader.create_raw(connection)
        loader.load(connection, world.shop, last, times)
    with _owner(world, roles.WAREHOUSE) as warehouse:
        warehouse.execute("analyze")
    progress("setting the golden twin aside")
    with _owner(world, "postgres") as server:
        roles.create_twin(server)
    with _owner(world, roles.TWIN) as twin:
        roles.open_twin(twin)


def _owner(world: World, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    address = f"postgresql://postgres@/{database}?host={quote(world.host, safe='')}"
    return psycopg.connect(address, autocommit=True)
