"""Who reads a source: pipelines by their manifests, from a file or from the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.structure.impact import Uses
from agents.structure.known import Structure
from config.errors import SwarmError
from config.settings import Settings
from integrations.base import Project
from integrations.declared import load_manifest, project_of_manifest
from integrations.lineage import ProjectLineage, manifest
from integrations.registry import discover

Read = tuple[ProjectLineage, Project, datetime | None]


def uses_of_files(paths: Sequence[Path], structure: Structure, *, source: str) -> Uses:
    """Readers by manifests on disk; `structure` gives the columns of what the models read.

    Raises:
        UsageError: a file is not a manifest.
        SourceError: it is of another shape.
    """
    return Uses.of([_read(load_manifest(path)[0], structure, source) for path in paths])


def _read(found: Mapping[str, Any], structure: Structure, source: str) -> Read:
    lineage = manifest(found, tables=columns_of(structure))
    return lineage, project_of_manifest(found, warehouse=source), None


def columns_of(structure: Structure) -> dict[str, list[str]]:
    """Columns by table, as the reader of SQL wants them."""
    return {path: [c.name for c in table.columns] for path, table in structure.tables.items()}


async def uses_of_pipelines(settings: Settings, structure: Structure, *, source: str) -> tuple[Uses | None, list[str]]:
    """Readers by the pipelines configured over a source; with what could not be read, in words."""
    registry = discover()
    read: list[Read] = []
    troubles: list[str] = []
    for name, spec in settings.sources.items():
        made = registry.kinds.get(spec.kind)
        if not spec.enabled or made is None or not (hasattr(made, "columns") and hasattr(made, "project")):
            continue
        pipeline: Any = registry.create(spec.kind, name, spec.options)
        try:
            await pipeline.open()
            project = await pipeline.project()
            if project.warehouse == source:
                lineage = await pipeline.columns(columns_of(structure))
                run = await pipeline.last_run()
                read.append((lineage, project, run.finished_at if run else None))
        except SwarmError as error:
            troubles.append(f"the lineage of {name} is not known: {error.message}")
        finally:
            await pipeline.close()
    return (await asyncio.to_thread(Uses.of, read) if read else None), troubles
