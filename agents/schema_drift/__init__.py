"""Notices what changed in the structure of whatever has tables."""

from agents.schema_drift.agent import SchemaDrift
from agents.schema_drift.options import SchemaDriftOptions

__all__ = ["SchemaDrift", "SchemaDriftOptions"]
