"""ClickHouse as a warehouse: a server by HTTP, or an embedded one (chdb) in a process of its own."""

from integrations.warehouses.clickhouse.options import ClickhouseOptions
from integrations.warehouses.clickhouse.warehouse import ClickhouseWarehouse

__all__ = ["ClickhouseOptions", "ClickhouseWarehouse"]
