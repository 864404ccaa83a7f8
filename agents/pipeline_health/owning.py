"""Who owns what, as the project says it: facts for whoever has to tell somebody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from config.assets import Asset
from integrations.base import Orchestrator, Project
from memory.records import JSON

OWNER: Final = "owner"
NOBODY: Final = ""
"""Held where the project no longer names anybody."""
_LONGEST: Final = 200


def owners(project: Project) -> dict[str, str]:
    """By node id; tests are owned by whoever owns what they test, and nodes without an owner are left out."""
    named = ((n.id, " ".join(n.owner.split())[:_LONGEST]) for n in project.nodes.values() if n.kind != "test")
    return {node: owner for node, owner in named if owner}


def tell(
    source: Orchestrator, project: Project, now: Mapping[str, str], before: Mapping[str, str]
) -> Sequence[tuple[Asset, str, JSON]]:
    """What changed since the last look, as facts about the nodes and about the relations they make or read."""
    changed = {node: now.get(node, NOBODY) for node in {**before, **now} if now.get(node) != before.get(node)}
    return [(asset, OWNER, owner) for node, owner in changed.items() for asset in _assets(source, project, node)]


def _assets(source: Orchestrator, project: Project, node: str) -> Iterator[Asset]:
    yield Asset(source.kind, source.name, node)
    known = project.nodes.get(node)
    if known is not None and known.relation:
        yield Asset("warehouse", project.warehouse, known.relation)
