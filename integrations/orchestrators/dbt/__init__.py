"""dbt as an orchestrator: read by its artefacts, run by the user's own executable."""

from integrations.orchestrators.dbt.artefacts import node_asset, relation_asset
from integrations.orchestrators.dbt.options import DbtOptions
from integrations.orchestrators.dbt.orchestrator import DbtOrchestrator

__all__ = ["DbtOptions", "DbtOrchestrator", "node_asset", "relation_asset"]
