"""What changed about a table as a whole: kind, comment, owner, partitioning, a view's query, and who may do what."""

from __future__ import annotations

from collections.abc import Iterator

from agents.structure import texts
from agents.structure.alterations import LONGEST
from agents.structure.changes import Change, Renamed
from agents.structure.known import KnownTable
from memory.records import JSON


def of_features(before: KnownTable, after: KnownTable, common: dict[str, JSON], renamed: Renamed) -> Iterator[Change]:
    """Everything of a table that is no column, constraint or index."""
    identities = (before.identity or "", after.identity or "")
    features = {
        "kind": (before.kind, after.kind, before.kind == after.kind),
        "comment": (before.comment, after.comment, before.comment == after.comment),
        # Of some kinds of relations, engines name no owner.
        "owner": (before.owner, after.owner, not before.owner or not after.owner or before.owner == after.owner),
        "partitioning": (
            before.partitioning,
            after.partitioning,
            before.partitioning == after.partitioning
            or texts.is_alike(before.partitioning, after.partitioning, renamed.words(before.path)),
        ),
        "definition": (
            before.definition,
            after.definition,
            before.definition == after.definition
            or texts.is_same_query(before.definition, after.definition, renamed.words()),
        ),
    }
    for what, (old, new, is_same) in features.items():
        # A view that became a table has no query any more; that is told by its kind.
        if is_same or (what == "definition" and before.kind != after.kind):
            continue
        payload = {**common, "what": what, "before": old[:LONGEST], "after": new[:LONGEST]}
        yield Change("table_altered", before.path, "", payload, identities)


def of_grants(before: KnownTable, after: KnownTable, common: dict[str, JSON]) -> Iterator[Change]:
    """Rights gained and lost, role by role."""
    if before.grants == after.grants:
        return
    had = {grant.role: set(grant.privileges) for grant in before.grants}
    has = {grant.role: set(grant.privileges) for grant in after.grants}
    for role in sorted(had.keys() | has.keys()):
        gained, lost = has.get(role, set()) - had.get(role, set()), had.get(role, set()) - has.get(role, set())
        if gained or lost:
            payload = {**common, "role": role, "gained": sorted(gained), "lost": sorted(lost)}
            yield Change("grants_altered", before.path, "", payload)
