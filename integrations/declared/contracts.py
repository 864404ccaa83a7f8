"""The contracts of a dbt project as a source: what its models promise is watched like a warehouse."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from config.errors import SourceError, SwarmError, UsageError
from integrations.base import Catalog, Finding
from integrations.declared.manifests import catalog_of_manifest, load_manifest


class DbtContractsOptions(BaseModel):
    """Where the contracts are.

    Attributes:
        path: the manifest, or the folder it lies in (the project, or its target).
        columns: `contracts` are the models under `contract: {enforced: true}`; `documented` is every relation with a
            column that is written down.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    columns: Literal["contracts", "documented"] = "contracts"


class DbtContracts:
    """What a dbt project promises, as tables."""

    kind: ClassVar[str] = "dbt-contracts"
    Options: ClassVar[type[BaseModel]] = DbtContractsOptions

    def __init__(self, name: str, options: Any) -> None:
        self.name = name
        self.options: DbtContractsOptions = options

    async def open(self) -> None:
        """Nothing is held open."""

    async def close(self) -> None:
        """Nothing is held open."""

    async def examine(self) -> Sequence[Finding]:
        """Is there a manifest, and does it promise anything?"""
        try:
            found = await self.catalog()
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]
        if not found.tables:
            hint = "write `contract: {enforced: true}` into a model's config, or set columns: documented"
            return [Finding(False, f"contracts {self.name}: no model is under contract", hint)]
        return [Finding(True, f"contracts {self.name}: {len(found.tables)} relations are under contract")]

    async def catalog(self) -> Catalog:
        """What the project promises, as last parsed.

        Raises:
            SourceError: there is no manifest, or it is of another shape.
        """
        return await asyncio.to_thread(self._read)

    def _read(self) -> Catalog:
        try:
            manifest, beside = load_manifest(self.options.path.expanduser())
        except UsageError as error:
            raise SourceError(f"contracts {self.name}: {error.message}", hint=error.hint) from None
        return catalog_of_manifest(manifest, beside, contracts_only=self.options.columns == "contracts")
