"""What cases of an engine share because it is dear to begin."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.cases.schema_drift.engines.grounds import KEY, package_of
from tests.places import fresh_place


@pytest.fixture(scope="session")
def clickhouse_shop() -> Iterator[tuple[Path, Any]]:
    """A directory of ClickHouse and a warehouse that looks at its database `shop`, and keeps its process for all."""
    pytest.importorskip("chdb", reason="the extra `clickhouse` is not installed")
    clickhouse = package_of("clickhouse")
    place = fresh_place("dsc")
    path = place / "shop"
    options = clickhouse.ClickhouseOptions(url=SecretStr(f"chdb://{path}"), schemas=("shop",), sketch_key=KEY)
    warehouse = clickhouse.ClickhouseWarehouse("shop", options)
    yield path, warehouse
    asyncio.run(warehouse.close())
    shutil.rmtree(place)
