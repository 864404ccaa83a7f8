"""Notices what changed in the structure of a warehouse."""

from agents.schema_drift.agent import SchemaDrift, SchemaDriftOptions

__all__ = ["SchemaDrift", "SchemaDriftOptions"]
