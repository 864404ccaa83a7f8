"""A DuckDB database file as a warehouse: opened read-only for each look, written only by an actor."""

from integrations.warehouses.duckdb.options import DuckdbOptions
from integrations.warehouses.duckdb.warehouse import DuckdbWarehouse

__all__ = ["DuckdbOptions", "DuckdbWarehouse"]
