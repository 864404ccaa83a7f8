"""Warehouses against the conformance suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from integrations.conformance import WarehouseConformance
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse


class TestPostgres(WarehouseConformance):
    """PostgreSQL, embedded, with a reader and an actor."""

    @pytest.fixture
    async def warehouse(self, bakery: Any) -> AsyncIterator[PostgresWarehouse]:
        """The bakery's server as both roles."""
        options = PostgresOptions(
            url=SecretStr(bakery.url("reader")),
            actor_url=SecretStr(bakery.url("actor")),
            schemas=("raw", "marts"),
            sketch_key=SecretStr("a key of the tests"),
        )
        warehouse = PostgresWarehouse("bakery", options)
        await warehouse.open()
        yield warehouse
        await warehouse.close()

    @pytest.fixture
    def table(self) -> str:
        """Twenty sales, most without a note."""
        return "raw.sales"

    @pytest.fixture
    def write(self) -> str:
        """Touches one row."""
        return "update raw.sales set amount = amount + 1 where id = 3"
