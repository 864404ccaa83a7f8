"""What a change means to those who read and to those who write; the owner of an asset may say otherwise."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.structure.changes import Change
from agents.structure.rules import Effect, Rule, rule
from config.assets import Asset
from memory.records import JSON

__all__ = ["Effect", "Meaning", "Override", "meaning"]

_WRITING: Final = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE", "MERGE", "ALL", "ALL PRIVILEGES", "ALTER"})
_READING: Final = frozenset({"SELECT", "ALL", "ALL PRIVILEGES"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """A change's class for readers and for writers, the rule it comes from, and why."""

    readers: Effect
    writers: Effect
    rule: str
    why: str

    @property
    def worst(self) -> Effect:
        """The graver of the two."""
        return max(self.readers, self.writers, key=lambda effect: effect.rank)


@dataclass(frozen=True, slots=True)
class Override:
    """An owner's own classification.

    Attributes:
        asset: shell pattern over `warehouse://source/schema.table#column` (or over the table, for all in it).
        change: shell pattern over kinds (`column_*`), kinds with what changed (`column_altered.comment`) or rule ids.
        readers, writers: the class from now on; None leaves it as it is.
        why: said with it.
    """

    asset: str
    change: str
    readers: Effect | None = None
    writers: Effect | None = None
    why: str = ""

    def covers(self, asset: Asset, names: Sequence[str]) -> bool:
        """Is it about this asset, and about a change of one of these names?"""
        return asset.matches(self.asset) and any(fnmatch.fnmatchcase(name, self.change) for name in names)


def meaning(change: Change, overrides: Sequence[Override] = (), *, source: str = "") -> Meaning:
    """The class of a change; of several overrides that cover it, later ones go before earlier ones."""
    found = rule_of(change)
    readers, writers, why = found.readers, found.writers, f"{found.for_readers} {found.for_writers}"
    if overrides:
        asset = Asset("warehouse", source, change.table, change.column)
        names = (change.kind, f"{change.kind}.{what_of(change)}", found.id)
        for override in overrides:
            if override.covers(asset, names):
                readers = override.readers or readers
                writers = override.writers or writers
                why = override.why or why
    return Meaning(readers, writers, found.id, why)


def rule_of(change: Change) -> Rule:
    """The line of the classification that speaks of a change."""
    tell = _HOWS.get(change.kind)
    return rule(change.kind, what_of(change), tell(change.payload) if tell else "")


def what_of(change: Change) -> str:
    """What of the thing changed; for a new type, whether it holds more or less."""
    return str(change.payload.get("what") or change.payload.get("how") or "")


def _relation(payload: Mapping[str, JSON]) -> str:
    return "view" if payload.get("relation") == "view" else ""


def _added(payload: Mapping[str, JSON]) -> str:
    return "" if payload["nullable"] or payload["default"] or payload.get("relation") == "view" else "required"


def _altered(payload: Mapping[str, JSON]) -> str:
    before, after = payload.get("before"), payload.get("after")
    match payload["what"]:
        case "nullability":
            return "nullable" if after == "nullable" else "required"
        case "default" | "generated":
            return "removed" if not after else "" if before else "added"
        case "identity":
            return str(after or "")
        case _:
            return ""


def _key(payload: Mapping[str, JSON]) -> str:
    return "key" if payload.get("unique") or payload.get("constraint") in ("primary_key", "unique") else ""


def _values(payload: Mapping[str, JSON]) -> str:
    if payload.get("removed") or payload.get("renamed"):
        return "removed"
    return "added" if payload.get("added") else "reordered"


def _rights(payload: Mapping[str, JSON]) -> str:
    lost = {str(right).upper() for right in payload["lost"]}
    reads, writes = bool(lost & _READING), bool(lost & _WRITING)
    if reads and writes:
        return "lost both"
    if not (reads or writes):
        return "" if lost else "gained"
    return "lost reading" if reads else "lost writing"


_HOWS: Final[Mapping[str, Callable[[Mapping[str, JSON]], str]]] = {
    "table_dropped": _relation,
    "column_added": _added,
    "column_dropped": _relation,
    "column_retyped": lambda payload: str(payload.get("aspect") or ""),
    "column_altered": _altered,
    "constraint_dropped": _key,
    "index_added": _key,
    "index_dropped": _key,
    "index_altered": _key,
    "enumeration_altered": _values,
    "grants_altered": _rights,
}
"""How the payload tells variants of one kind apart."""
