"""What the statements of a script have made so far, in front of what was there before."""

from __future__ import annotations

from collections.abc import Iterable

from integrations.lineage.naming import Key, Path, join_path
from integrations.lineage.schema import Doubt, Known, Schema


class Session:
    """Tables as a statement in the middle of a script finds them; `asked` keeps what was asked of the schema."""

    __slots__ = ("_made", "_temporary", "asked", "schema")

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._made: dict[Path, Known] = {}
        self._temporary: dict[Key, Known] = {}
        self.asked: dict[tuple[Path, Path], str] = {}

    def use(self, default_schema: Path) -> None:
        """Another default schema, from here on."""
        self.schema = self.schema.within(default_schema)

    def find(self, parts: Path) -> Known | Doubt | None:
        """The table a reference means now."""
        if len(parts) == 1 and parts[0] in self._temporary:
            return self._temporary[parts[0]]
        made = self._made.get(self._whole(parts))
        if made is not None:
            return made
        self.asked[self.schema.default, parts] = self.schema.fingerprint(parts)
        return self.schema.find(parts)

    def path(self, parts: Path, *, is_new: bool = False) -> str:
        """How a table is called; a new one is never taken for one of the same name in another schema."""
        if not is_new or len(parts) > 1 or self.schema.default:
            found = self.find(parts)
            if isinstance(found, Known):
                return found.path
        return self.schema.shown(parts)

    def make(
        self,
        parts: Path,
        columns: Iterable[tuple[Key, str]] | None,
        *,
        is_temporary: bool,
        unique: frozenset[frozenset[Key]] = frozenset(),
    ) -> str:
        """A statement made a table; returns how it is called. `columns` None: they are not known."""
        own = None if columns is None else dict(columns)
        if is_temporary:
            known = Known(join_path(parts), own, is_temporary=True, unique=unique)
            self._temporary[parts[-1]] = known
        else:
            known = Known(self.path(parts, is_new=True), own, unique=unique)
            self._made[self._whole(parts)] = known
        return known.path

    def loosen(self, known: Known) -> None:
        """Rows of a table made here were changed: nothing tells them apart for certain any more."""
        if known.is_temporary or any(known is made for made in self._made.values()):
            known.unique, known.relation = frozenset(), None

    def drop(self, parts: Path) -> str:
        """A statement dropped a table; returns how it was called."""
        path = self.path(parts)
        if len(parts) == 1 and parts[0] in self._temporary:
            del self._temporary[parts[0]]
        else:
            self._made.pop(self._whole(parts), None)
        return path

    def _whole(self, parts: Path) -> Path:
        if self.schema.catalog and len(parts) > 2 and parts[0] == self.schema.catalog:  # noqa: PLR2004 - with a catalog
            return parts[1:]
        return (*self.schema.default, *parts) if len(parts) == 1 else parts
