"""What tables have which columns, prepared once and asked often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from integrations.lineage.naming import Key, Naming, Path, join_path, naming, split_path
from integrations.lineage.relations import Relation

Columns = Mapping[str, object] | Sequence[str]
Tables = Mapping[str, Columns]


@dataclass(slots=True)
class Known:
    """A table: its path as shown, its columns (key → name as shown) in order; `columns` None where they are unknown."""

    path: str
    columns: dict[Key, str] | None
    lenient: dict[Key, Key] = field(default_factory=dict)
    is_temporary: bool = False
    unique: frozenset[frozenset[Key]] = frozenset()
    relation: Relation | None = None  # as queries read it, made by the first that does
    _fingerprint: str = ""

    def column(self, key: Key) -> str | None:
        """The column's name as shown, by key; None where there is none."""
        if self.columns is None:
            return None
        found = self.columns.get(key)
        return self.columns[self.lenient[key]] if found is None and key in self.lenient else found

    @property
    def fingerprint(self) -> str:
        """Changes with the path and the columns, their order included."""
        if not self._fingerprint:
            keys = sorted(sorted(k) for k in self.unique)
            shape = (self.path, None if self.columns is None else tuple(self.columns.values()), keys)
            self._fingerprint = sha256(repr(shape).encode()).hexdigest()
        return self._fingerprint


@dataclass(frozen=True, slots=True)
class Doubt:
    """A name that several tables answer to."""

    candidates: tuple[str, ...]


class Schema:
    """The known tables of a dialect, found by their full or partial path.

    Args:
        tables: path (`orders`, `raw.orders`, `shop.raw.orders`; odd parts in double quotes) → columns in order, as the
            engine spells them; types, where given, are not looked at. In a dialect that folds up, names written all in
            small letters are taken for unquoted ones.
        dialect: as sqlglot calls it.
        default_schema: what an unqualified name belongs to.
        catalog: the database everything lies in; as the first part of a name it is left out.
        keys: path → sets of columns no two rows agree in (primary keys): with them a LEFT JOIN is read more exactly.

    An unqualified name without `default_schema` finds the one table of that name; of several, none. A name with a
    catalog finds a table known without. Raises UsageError for an unknown dialect.
    """

    __slots__ = ("_found", "_keys", "_paths", "_suffixes", "_tables", "catalog", "default", "naming")

    def __init__(
        self,
        tables: Tables,
        *,
        dialect: str,
        default_schema: str = "",
        catalog: str = "",
        keys: Mapping[str, Sequence[Sequence[str]]] | None = None,
    ) -> None:
        self.naming: Naming = naming(dialect)
        self.default: Path = tuple(self._key(p) for p in split_path(default_schema)) if default_schema else ()
        self.catalog: Key = self._key(catalog) if catalog else ""
        self._tables: dict[str, Columns] = dict(tables)
        self._keys: dict[str, Sequence[Sequence[str]]] = dict(keys or {})
        self._paths: dict[Path, str] = {}
        self._suffixes: dict[Key, list[Path]] = {}
        self._found: dict[Path, Known | Doubt | None] = {}
        for path in tables:
            parts = self.key_path(path)
            self._paths[parts] = path
            self._suffixes.setdefault(parts[-1], []).append(parts)

    def _key(self, name: str) -> Key:
        """The key of a part as the engine spells it."""
        return self.naming.table(name, quoted=not (self.naming.folds_up and name.islower()))

    def copy(self) -> Schema:
        """A schema that may be added to without touching this one."""
        other = self.within(self.default)
        other._tables, other._paths = dict(self._tables), dict(self._paths)  # noqa: SLF001
        other._keys = dict(self._keys)  # noqa: SLF001
        other._suffixes = {key: list(paths) for key, paths in self._suffixes.items()}  # noqa: SLF001
        other._found = dict(self._found)  # noqa: SLF001
        return other

    def add(self, path: str, columns: Columns, keys: Sequence[Sequence[str]] = ()) -> None:
        """A table that is known from now on, or known otherwise."""
        self._keys[path] = keys
        parts = self.key_path(path)
        if parts in self._paths:
            self._tables.pop(self._paths[parts])
        else:
            self._suffixes.setdefault(parts[-1], []).append(parts)
        self._paths[parts] = path
        self._tables[path] = columns
        self._found = {p: found for p, found in self._found.items() if p[-1] != parts[-1]}

    def within(self, default_schema: Path) -> Schema:
        """The same tables, seen from another default schema (keys)."""
        other = object.__new__(Schema)
        other.naming, other.catalog, other.default = self.naming, self.catalog, default_schema
        other._tables, other._paths, other._suffixes = self._tables, self._paths, self._suffixes
        other._keys = self._keys
        other._found = {}
        return other

    def columns(self, path: str) -> tuple[str, ...]:
        """The columns of a table by its path as the engine spells it; empty where they are not known."""
        found = self.find(self.key_path(path))
        return tuple((found.columns or {}).values()) if isinstance(found, Known) else ()

    def key_path(self, path: str) -> Path:
        """The keys of a path as the engine spells it."""
        return tuple(self._key(p) for p in split_path(path))

    @property
    def paths(self) -> Iterable[str]:
        """All that are known, as they were given."""
        return self._tables

    def find(self, parts: Path) -> Known | Doubt | None:
        """The table a reference (keys, outermost first) means; None where it is not known."""
        if parts not in self._found:
            self._found[parts] = self._find(parts)
        return self._found[parts]

    def _find(self, parts: Path) -> Known | Doubt | None:
        if self.catalog and len(parts) > 2 and parts[0] == self.catalog:  # noqa: PLR2004 - catalog.schema.table
            return self.find(parts[1:])
        if len(parts) == 1 and self.default:
            own = (*self.default, *parts)
            return self._known(own) if own in self._paths else self._known(parts) if parts in self._paths else None
        if parts in self._paths:
            return self._known(parts)
        if self.naming.folds_up and any(p.islower() for p in parts):
            return self.find(tuple(p.upper() if p.islower() else p for p in parts))
        among = self._suffixes.get(parts[-1], ())
        longer = [p for p in among if len(p) > len(parts) and p[-len(parts) :] == parts]
        shorter = [p for p in among if len(p) < len(parts) and parts[-len(p) :] == p and self._may_lack(p, parts)]
        found = longer or shorter
        if len(found) > 1:
            return Doubt(tuple(sorted(self._paths[p] for p in found)))
        return self._known(found[0]) if found else None

    def _may_lack(self, known: Path, parts: Path) -> bool:
        """May the known path be short for the reference: but for the catalog, or in the default schema?"""
        return len(known) > 1 or (bool(self.default) and parts[:-1][-len(self.default) :] == self.default)

    def _known(self, parts: Path) -> Known:
        path = self._paths[parts]
        names = list(self._tables[path])
        columns = {self.naming.column(name, quoted=True): name for name in names}
        lenient: dict[Key, Key] = {}
        if self.naming.folds_up:
            lenient = {n.upper(): n for n in names if n.islower() and n.upper() not in columns}
        spelled = {name: key for key, name in columns.items()}
        unique = frozenset(frozenset(spelled.get(c, c) for c in key) for key in self._keys.get(path, ()))
        return Known(join_path(split_path(path)), columns, lenient, unique=unique)

    def shown(self, parts: Path) -> str:
        """How a table that is not known is called: with the default schema, without the catalog."""
        if self.catalog and len(parts) > 2 and parts[0] == self.catalog:  # noqa: PLR2004 - catalog.schema.table
            parts = parts[1:]
        return join_path((*self.default, *parts) if len(parts) == 1 else parts)

    def fingerprint(self, parts: Path) -> str:
        """Of what a reference finds; changes when the answer would."""
        found = self.find(parts)
        if isinstance(found, Known):
            return found.fingerprint
        return repr(found) if found is not None else f"unknown {self.shown(parts)}"
