"""The servers of other rooms that cases run on."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("pymysql") is not None:
    from tests.conformance.test_sql_mariadb import mariadb

    __all__ = ["mariadb"]
