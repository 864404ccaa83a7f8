"""DuckDB as a reader inside this process: what a DuckDB file and a folder of files have in common."""

from integrations.duck.profile import Target, read_profile
from integrations.duck.reading import parameterised, read_rows
from integrations.duck.session import Session, Sessions
from integrations.duck.types import normalised
from integrations.duck.words import fingerprint, quoted, splits

__all__ = [
    "Session",
    "Sessions",
    "Target",
    "fingerprint",
    "normalised",
    "parameterised",
    "quoted",
    "read_profile",
    "read_rows",
    "splits",
]
