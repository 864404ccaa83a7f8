"""What changed about types with listed values and about sequences, which stand beside tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from agents.structure import texts
from agents.structure.alterations import LONGEST
from agents.structure.changes import Change
from agents.structure.known import Tables
from integrations.base import Enumeration, NumberSequence
from memory.records import JSON

_Thing = TypeVar("_Thing", Enumeration, NumberSequence)


@dataclass(frozen=True, slots=True)
class Matched(Generic[_Thing]):
    """Pairs by path, else by identity; and what went and came."""

    pairs: tuple[tuple[_Thing, _Thing], ...]
    dropped: tuple[_Thing, ...]
    added: tuple[_Thing, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """Old path → new path, where it changed."""
        return {path_of(one): path_of(other) for one, other in self.pairs if path_of(one) != path_of(other)}


def path_of(thing: Enumeration | NumberSequence) -> str:
    """`schema.name`."""
    return f"{thing.schema}.{thing.name}"


def match(before: Mapping[str, _Thing], after: Mapping[str, _Thing]) -> Matched[_Thing]:
    """A path that goes on is the same thing to whoever names it."""
    pairs = [(thing, after[path]) for path, thing in before.items() if path in after]
    come = {path: thing for path, thing in after.items() if path not in before}
    by_identity = {thing.identity: thing for thing in come.values() if thing.identity is not None}
    dropped = []
    for path, thing in before.items():
        if path in after:
            continue
        now = None if thing.identity is None else by_identity.pop(thing.identity, None)
        if now is None:
            dropped.append(thing)
        else:
            pairs.append((thing, now))
            del come[path_of(now)]
    return Matched(tuple(pairs), tuple(dropped), tuple(come.values()))


def of_enumerations(matched: Matched[Enumeration], tables: Tables) -> Iterator[Change]:
    """Values added, removed, renamed in their place, or put in another order; and the types themselves."""
    for one in matched.added:
        path = path_of(one)
        yield Change("enumeration_added", path, "", {"enumeration": path, "values": list(one.values)})
    for one in matched.dropped:
        path = path_of(one)
        yield Change("enumeration_dropped", path, "", {"enumeration": path, "values": list(one.values)})
    for one, other in matched.pairs:
        before, after = path_of(one), path_of(other)
        about: dict[str, JSON] = {"enumeration": before}
        if before != after or one.values != other.values:
            about["used_by"] = _used_by(tables, one)
        identities = (one.identity or "", other.identity or "")
        if before != after:
            payload = {**about, "what": "name", "before": before, "after": after}
            yield Change("enumeration_altered", before, "", payload, identities)
        if one.values != other.values:
            payload = {**about, "what": "values", **_values(one.values, other.values)}
            yield Change("enumeration_altered", before, "", payload, identities)


def of_sequences(matched: Matched[NumberSequence]) -> Iterator[Change]:
    """Sequences that came, went, or count another way."""
    for one in matched.added:
        path = path_of(one)
        yield Change("sequence_added", path, "", {"sequence": path, "definition": one.definition})
    for one in matched.dropped:
        path = path_of(one)
        yield Change("sequence_dropped", path, "", {"sequence": path, "definition": one.definition})
    for one, other in matched.pairs:
        before, after = path_of(one), path_of(other)
        identities = (one.identity or "", other.identity or "")
        if before != after:
            payload = {"sequence": before, "what": "name", "before": before, "after": after}
            yield Change("sequence_altered", before, "", payload, identities)
        if not texts.is_alike(one.definition, other.definition):
            texts_ = {"before": one.definition[:LONGEST], "after": other.definition[:LONGEST]}
            payload = {"sequence": before, "what": "definition", **texts_}
            yield Change("sequence_altered", before, "", payload, identities)


def _values(before: Sequence[str], after: Sequence[str]) -> dict[str, JSON]:
    """A value whose place another one took, while all others stayed, was renamed."""
    removed = [v for v in before if v not in after]
    added = [v for v in after if v not in before]
    renamed: list[list[str]] = []
    if len(before) == len(after) and all(
        b == a or (b in removed and a in added) for b, a in zip(before, after, strict=True)
    ):
        renamed = [[b, a] for b, a in zip(before, after, strict=True) if b != a]
        removed, added = [], []
    stayed = [v for v in before if v in after]
    return {
        "added": added,
        "removed": removed,
        "renamed": renamed,
        "reordered": stayed != [v for v in after if v in before],
    }


def _used_by(tables: Tables, enumeration: Enumeration) -> list[JSON]:
    """The columns of that type."""
    spelled = {path_of(enumeration), f'"{enumeration.schema}"."{enumeration.name}"'}
    spelled |= {f'{enumeration.schema}."{enumeration.name}"', f'"{enumeration.schema}".{enumeration.name}'}
    spelled |= {f"{name}[]" for name in spelled}
    return [{"table": t.path, "column": c.name} for t in tables.values() for c in t.columns if c.type in spelled]
