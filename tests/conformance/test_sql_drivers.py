"""What must be installed for which URL, and what is said where it is not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from config.errors import SetupError
from integrations.registry import misfits
from integrations.warehouses import scope
from integrations.warehouses.sql import SqlOptions, SqlWarehouse
from integrations.warehouses.sql.manners import Manner

_WITHOUT = """
import asyncio, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {names}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Missing())
from integrations.registry import discover, misfits
from integrations.warehouses.sql import SqlOptions, SqlWarehouse
from config.errors import SetupError
assert discover().kinds and misfits(SqlWarehouse, 'sql') == []
assert not any(m.partition('.')[0] in {names} for m in sys.modules)
warehouse = SqlWarehouse('shop', SqlOptions(url='{url}'))
try:
    asyncio.run(warehouse.open())
except SetupError as error:
    print(error.message, '|', error.hint)
findings = asyncio.run(warehouse.examine())
assert not findings[0].ok and findings[0].hint
"""


@pytest.mark.parametrize(
    ("missing", "url", "said"),
    [
        (("sqlalchemy", "pymysql"), "sqlite:////x.db", "SQLAlchemy is not installed | pip install 'dataswarm[sql]'"),
        (("pymysql",), "mysql://u:hunter2@h/db", "pymysql is not installed | pip install 'dataswarm[mysql]'"),
        (("pymysql",), "mariadb://u:hunter2@h/db", "pymysql is not installed | pip install 'dataswarm[mysql]'"),
    ],
)
def test_the_base_installation_says_what_to_install(missing: tuple[str, ...], url: str, said: str) -> None:
    """Without the libraries everything loads and the kind fits; opening names the line that installs them."""
    code = _WITHOUT.format(names=repr(set(missing)), url=url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("snowflake://u:hunter2@account/db", "snowflake-sqlalchemy"),
        ("bigquery://project/data", "sqlalchemy-bigquery"),
        ("databricks://token:hunter2@host", "databricks-sqlalchemy"),
        ("redshift+redshift_connector://u:hunter2@h/db", "sqlalchemy-redshift"),
        ("trino://u:hunter2@h/catalog", "trino[sqlalchemy]"),
        ("mssql+pyodbc://u:hunter2@h/db", "pyodbc"),
        ("oracle://u:hunter2@h/db", "oracledb"),
        ("mysql+mysqldb://u:hunter2@h/db", "dataswarm[mysql]"),
        ("nonsense://u:hunter2@h/db", "the package that brings this dialect"),
    ],
)
async def test_a_missing_driver_says_what_to_install(url: str, line: str) -> None:
    """Each known dialect names its package; one that nobody knows says so; no secret in either."""
    looking = SqlWarehouse("shop", SqlOptions(url=SecretStr(url)))
    with pytest.raises(SetupError, match="warehouse shop") as caught:
        await looking.open()
    assert line in caught.value.hint
    assert "hunter2" not in str(caught.value) + repr(looking.options)
    with pytest.raises(SetupError):
        looking.quote("a")


async def test_an_asynchronous_driver_is_refused() -> None:
    """The door brings threads of its own; a driver that wants a loop is refused with what to do."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(SetupError, match="asynchronous"):
        await SqlWarehouse("shop", SqlOptions(url=SecretStr("postgresql+psycopg_async://h/db"))).open()


def test_an_engine_nobody_tried_says_so() -> None:
    """The class fits its protocol; dialects without a manner of their own have that of all."""
    assert misfits(SqlWarehouse, "sql") == []
    manner = Manner("shop", SqlOptions(url=SecretStr("trino://h/c")), "trino")
    assert (manner.named("dataswarm/x"), manner.fault(ValueError())) == ({}, None)


def test_schemas_are_chosen_by_patterns() -> None:
    """Patterns choose, exclusions are stronger, and what belongs to the swarm must be named outright."""
    options = SqlOptions(url=SecretStr("sqlite://"), schemas=("shop*", "dataswarm"), exclude_schemas=("shop_old",))
    looked_at = {s: options.looks_at(s) for s in ("shop", "shop_old", "Shop", "dataswarm", "dataswarm_scratch_x", "hr")}
    assert [s for s, yes in looked_at.items() if yes] == ["shop", "dataswarm"]
    assert scope.outright(("a", "b*", "[c]")) == ("a",)
    with pytest.raises(ValidationError):
        SqlOptions.model_validate({"url": "sqlite://", "nonsense": 1})
