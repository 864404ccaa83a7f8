"""From a URL to a dialect and its driver: what must be installed for it, and what of it was tried.

Nothing here imports SQLAlchemy before it is asked to, for the base installation has none.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from config.errors import SetupError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

INSTALL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "athena": "'PyAthena[SQLAlchemy]'",
        "awsathena": "'PyAthena[SQLAlchemy]'",
        "bigquery": "sqlalchemy-bigquery",
        "clickhousedb": "'clickhouse-connect[sqlalchemy]'",
        "cockroachdb": "sqlalchemy-cockroachdb 'psycopg[binary]'",
        "crate": "sqlalchemy-cratedb",
        "databricks": "databricks-sqlalchemy",
        "db2": "ibm-db-sa",
        "duckdb": "duckdb-engine",
        "exa": "sqlalchemy-exasol",
        "firebird": "sqlalchemy-firebird",
        "hana": "sqlalchemy-hana",
        "ibm_db_sa": "ibm-db-sa",
        "mariadb": "'dataswarm[mysql]'",
        "mssql": "pyodbc",
        "mysql": "'dataswarm[mysql]'",
        "oracle": "oracledb",
        "postgresql": "'dataswarm[sql]'",
        "redshift": "sqlalchemy-redshift redshift_connector",
        "snowflake": "snowflake-sqlalchemy",
        "sqlite": "'dataswarm[sql]'",
        "teradatasql": "teradatasqlalchemy",
        "trino": "'trino[sqlalchemy]'",
        "vertica": "sqlalchemy-vertica-python",
    }
)
"""What to install for a dialect, as it is written behind `pip install`."""

PROVEN: Final = frozenset({"mariadb", "sqlite", "postgresql"})
"""Engines this door was run against; every other is untested against a live server."""

_FORM = "write dialect://user:password@host:port/database, special characters percent-encoded"


def require_library(source: str) -> None:
    """SetupError with the line that installs SQLAlchemy where it is missing."""
    try:
        importlib.import_module("sqlalchemy")
    except ImportError:
        raise SetupError(
            f"warehouse {source}: SQLAlchemy is not installed", hint="pip install 'dataswarm[sql]'"
        ) from None


def read_url(source: str, url: SecretStr) -> URL:
    """The URL with its driver chosen; SetupError (without the URL in it) where it cannot be read."""
    require_library(source)
    sqlalchemy = importlib.import_module("sqlalchemy")
    try:
        read: URL = sqlalchemy.make_url(url.get_secret_value())
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SetupError(f"warehouse {source}: the URL cannot be read", hint=_FORM) from None
    if read.get_backend_name() in ("mysql", "mariadb"):
        # Which of the two it is, the server tells; asked for by name, the dialect refuses the other.
        driver = read.drivername.partition("+")[2] or "pymysql"
        read = read.set(drivername=f"mysql+{driver}")
    return read


def require_driver(source: str, url: URL) -> None:
    """SetupError with the line that installs it where the dialect or its driver is missing or will not do."""
    exceptions = importlib.import_module("sqlalchemy.exc")
    name = url.get_backend_name()
    line = INSTALL.get(name, "")
    hint = f"pip install {line}" if line else "install the package that brings this dialect to SQLAlchemy"
    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except exceptions.NoSuchModuleError:
        raise SetupError(f"warehouse {source}: there is no dialect {name!r}", hint=hint) from None
    except ImportError as error:
        missing = f": {error.name} is not installed" if error.name else ""
        if line and url.drivername.partition("+")[2] not in ("", "pymysql"):
            hint += ", or name another driver in the URL"
        raise SetupError(f"warehouse {source}: the driver of {name} is missing{missing}", hint=hint) from None
    if dialect.is_async:
        raise SetupError(
            f"warehouse {source}: {url.drivername} is an asynchronous driver",
            hint="name a synchronous one in the URL, or none",
        )


def secrets_of(url: URL) -> tuple[str, ...]:
    """Everything in a URL that may be secret: the password, and the values of the query (keys, tokens)."""
    values = [v for given in url.query.values() for v in ((given,) if isinstance(given, str) else given)]
    return tuple(v for v in (url.password, *values) if isinstance(v, str) and v)
