"""Any engine with a SQLAlchemy dialect as a warehouse; MySQL, MariaDB and SQLite read exactly."""

from integrations.warehouses.sql.options import SqlOptions
from integrations.warehouses.sql.warehouse import SqlWarehouse

__all__ = ["SqlOptions", "SqlWarehouse"]
