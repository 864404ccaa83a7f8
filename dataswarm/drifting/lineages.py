"""Who reads a source: pipelines by their manifests, from a file or from the configuration, and its own views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.structure import views
from agents.structure.changes import Change
from agents.structure.impact import Uses
from agents.structure.known import Structure
from config.errors import SwarmError
from config.settings import Settings
from dataswarm.drifting.sides import Aspect, Side
from integrations.base import Project
from integrations.declared import load_manifest, project_of_manifest
from integrations.lineage import Memo, ProjectLineage, manifest
from integrations.registry import discover

Read = tuple[ProjectLineage, Project, datetime | None]


def read_files(paths: Sequence[Path], structure: Structure, *, source: str) -> list[Read]:
    """Readers by manifests on disk; `structure` gives the columns of what the models read.

    Raises:
        UsageError: a file is not a manifest.
        SourceError: it is of another shape.
    """
    return [_read(load_manifest(path)[0], structure, source) for path in paths]


def _read(found: Mapping[str, Any], structure: Structure, source: str) -> Read:
    lineage = manifest(found, tables=columns_of(structure))
    return lineage, project_of_manifest(found, warehouse=source), None


def columns_of(structure: Structure) -> dict[str, list[str]]:
    """Columns by table, as the reader of SQL wants them."""
    return {path: [c.name for c in table.columns] for path, table in structure.tables.items()}


async def read_pipelines(settings: Settings, structure: Structure, *, source: str) -> tuple[list[Read], list[str]]:
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
    return read, troubles


def uses_of(read: Sequence[Read], before: Side, after: Side, *, source: str, dialect: str) -> Uses | None:
    """Who reads a source: pipelines, and the views that the side before tells; None where there is neither.

    - dialect: of the views' text.
    """
    memo = Memo()
    around = {**after.structure.tables, **before.structure.tables}
    was = views.lineage_of(before.structure.tables, around, dialect, memo)
    if not was.parts:
        return Uses.of(read) if read else None
    following = None
    if Aspect.DEFINITIONS in after.tells:
        now = views.lineage_of(after.structure.tables, {}, dialect, memo)
        texts = {
            path: (before.structure.tables[path].definition, after.structure.tables[path].definition)
            for path in was.parts
            if path in after.structure.tables
        }

        def following(change: Change) -> frozenset[str]:
            return views.following(change, was.parts, now.parts, texts)

    return Uses.of([*read, (was, views.of_warehouse(source), None)], following)
