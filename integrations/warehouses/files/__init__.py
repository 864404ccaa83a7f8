"""A folder of data files as a warehouse that is only read: Parquet, CSV and JSON, seen through DuckDB in memory."""

from integrations.warehouses.files.options import FilesOptions
from integrations.warehouses.files.warehouse import FilesWarehouse

__all__ = ["FilesOptions", "FilesWarehouse"]
