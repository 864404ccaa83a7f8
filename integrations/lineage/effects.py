"""What a statement did, for the script it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from integrations.lineage.relations import Relation


@dataclass(frozen=True, slots=True)
class Effect:
    """The kind of a statement, the relation it makes or changes, and what later statements must know.

    Attributes:
        kind: see `StatementLineage`.
        relation, columns, passes, is_temporary, keys: likewise.
        dropped: relations that are gone.
        was, renamed: by ALTER: what the relation was called, and its columns (before, after).
        returned: what RETURNING hands to the statement around it.
    """

    kind: str
    relation: str = ""
    columns: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    is_temporary: bool = False
    dropped: tuple[str, ...] = ()
    was: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    keys: tuple[tuple[str, ...], ...] = ()
    returned: Relation = field(default_factory=Relation)

    def but(self, *, is_temporary: bool) -> Effect:
        """The same, of a relation that is or is not temporary."""
        return replace(self, is_temporary=is_temporary)
