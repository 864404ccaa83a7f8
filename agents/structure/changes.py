"""One change of structure, before it is told to anybody. README.md lists the kinds and what their payloads hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from memory.records import JSON


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        kind: the observation's kind without `schema.`.
        table: path of the table by its old name (by its new one where there is no old one); of the enumeration or
            sequence, where it is about one.
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
        about = (str(self.payload[key]) for key in ("name", "role") if key in self.payload)
        return "|".join((self.kind, self.table, self.column, str(what), *about, ">".join(self.identities)))


@dataclass(frozen=True, slots=True)
class Renamed:
    """Names that changed between two looks, old → new.

    Attributes:
        tables: by path.
        columns: by name, for each table by its old path.
        types: of types with listed values, by path.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    _moved: frozenset[tuple[str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Put together once what every text may name: tables and types, of which there may be ten thousand."""
        whole = (*self.tables.items(), *self.types.items())
        parts = (zip(before.split(".", 1), after.split(".", 1), strict=False) for before, after in whole)
        object.__setattr__(self, "_moved", _differing((*whole, *chain.from_iterable(parts))))

    def column(self, table: str, name: str) -> str:
        """The name of today."""
        return self.columns.get(table, {}).get(name, name)

    def words(self, *paths: str) -> frozenset[tuple[str, str]]:
        """All that may stand differently in a text: columns of the tables by these old paths (none: of all)."""
        columns = [self.columns.get(path, {}) for path in paths] if paths else list(self.columns.values())
        return self._moved | _differing(pair for names in columns for pair in names.items())


def _differing(pairs: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset((before, after) for before, after in pairs if before != after)
