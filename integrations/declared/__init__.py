"""What is declared and not yet there: DDL scripts, dbt manifests and their contracts, as catalogs."""

from integrations.declared.contracts import DbtContracts
from integrations.declared.ddl import Declared, read_ddl, read_scripts
from integrations.declared.manifests import catalog_of_manifest, load_manifest, project_of_manifest

__all__ = [
    "DbtContracts",
    "Declared",
    "catalog_of_manifest",
    "load_manifest",
    "project_of_manifest",
    "read_ddl",
    "read_scripts",
]
