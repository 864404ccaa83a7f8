"""PostgreSQL as a warehouse: the catalog by pg_catalog, profiles by counting, changes by a role of its own."""

from integrations.warehouses.postgres.options import PostgresOptions
from integrations.warehouses.postgres.warehouse import PostgresWarehouse

__all__ = ["PostgresOptions", "PostgresWarehouse"]
