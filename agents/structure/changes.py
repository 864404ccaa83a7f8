"""One change of structure, before it is told to anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from memory.records import JSON


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        kind: the observation's kind without `schema.`.
        table: path of the table by its old name (by its new one where there is no old one).
        column: the column by its old name, empty for the whole table.
        payload: as the blackboard's vocabulary has it.
        identities: the engine's identities before and after, as far as there are any.
        arrives: what can be read afterwards under which name: (path, column), the column empty for a table.
        needs: what must stand in `table` again for this change to count as undone: columns by (name, type);
            None for a change that nobody waits to see undone.
    """

    kind: str
    table: str
    column: str = ""
    payload: Mapping[str, JSON] = field(default_factory=dict)
    identities: tuple[str, str] = ("", "")
    arrives: tuple[str, str] | None = None
    needs: tuple[tuple[str, str], ...] | None = None

    @property
    def name(self) -> str:
        """What tells it from the other changes of a look."""
        what = self.payload.get("what") or self.payload.get("after") or ",".join(self.payload.get("dropped") or ())
        return "|".join((self.kind, self.table, self.column, str(what), ">".join(self.identities)))
