"""Column-level lineage: which columns of what comes out hang on which columns of what goes in. Pure; see `edges`."""

from integrations.lineage.edges import HOWS, ROWS, Edge, How, Lineage, Source, StatementLineage, Target, Unresolved
from integrations.lineage.graph import ColumnGraph
from integrations.lineage.manifests import manifest
from integrations.lineage.memo import Memo
from integrations.lineage.projects import ProjectLineage, folder, scripts, views
from integrations.lineage.schema import Schema
from integrations.lineage.script import columns_of

__all__ = [
    "HOWS",
    "ROWS",
    "ColumnGraph",
    "Edge",
    "How",
    "Lineage",
    "Memo",
    "ProjectLineage",
    "Schema",
    "Source",
    "StatementLineage",
    "Target",
    "Unresolved",
    "columns_of",
    "folder",
    "manifest",
    "scripts",
    "views",
]
