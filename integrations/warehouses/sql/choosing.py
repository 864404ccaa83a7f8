"""Which engine has which manner."""

from __future__ import annotations

from integrations.warehouses.sql.manners import Manner
from integrations.warehouses.sql.mysql.manner import MySqlManner
from integrations.warehouses.sql.options import SqlOptions
from integrations.warehouses.sql.sqlite.manner import SqliteManner

_KNOWN: dict[str, type[Manner]] = {"mysql": MySqlManner, "mariadb": MySqlManner, "sqlite": SqliteManner}


def manner_of(source: str, options: SqlOptions, dialect: str) -> Manner:
    """The manner of a dialect; that of all where it has none of its own."""
    return _KNOWN.get(dialect, Manner)(source, options, dialect)
