"""What the agent knew of a source after its last look: its baseline, as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agents.structure.known import KnownTable
from memory.records import JSON

SHAPE: Final = 1
"""Version of the baseline's shape; a baseline of another one is not understood and taken anew."""


@dataclass(frozen=True, slots=True)
class OpenChange:
    """A reported change that would count as undone once `columns` (name, type) stand in `table` again.

    Without columns, the table's mere presence is enough.
    """

    key: str
    kind: str
    table: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """The baseline of one warehouse.

    Attributes:
        serial: grows with every look that reported something; part of the observations' keys.
        fingerprint: of the catalog last seen; empty where a judgement was put off.
        tables: by path.
        gone: tables that were dropped or renamed, as they last were, to compare with if the name comes back.
        open: reported changes not undone so far, oldest first.
        invisible: schemas that could not be seen.
    """

    serial: int
    fingerprint: str
    tables: Mapping[str, KnownTable]
    gone: Mapping[str, KnownTable] = field(default_factory=dict)
    open: tuple[OpenChange, ...] = ()
    invisible: tuple[str, ...] = ()
    shape: int = SHAPE


_ADAPTER = TypeAdapter(Known)


def parse(baseline: JSON) -> Known | None:
    """The baseline as it was written; None where there is none, or one of a shape no longer understood."""
    if not isinstance(baseline, dict) or baseline.get("shape") != SHAPE:
        return None
    try:
        return _ADAPTER.validate_python(baseline)
    except ValidationError:
        return None


def dump(known: Known) -> JSON:
    """The baseline as JSON."""
    return _ADAPTER.dump_python(known, mode="json")
