"""The DuckDB library, which is an extra: loaded when a source of its kind is opened, not before."""

from __future__ import annotations

import importlib
from types import ModuleType

from config.errors import SetupError

# DuckDB hands out times with a zone by means of pytz, and does not bring it.
_NEEDED = ("duckdb", "pytz")


def load(source: str) -> ModuleType:
    """The module; SetupError with the line that installs it."""
    try:
        loaded = [importlib.import_module(name) for name in _NEEDED]
    except ImportError as error:
        raise SetupError(
            f"source {source}: the library {error.name or 'duckdb'} is not installed",
            hint="pip install 'dataswarm[duckdb]'",
        ) from None
    return loaded[0]
