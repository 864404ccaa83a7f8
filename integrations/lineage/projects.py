"""Lineage of many scripts that build on one another: views of a warehouse, folders of SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as File

from config.errors import UsageError
from integrations.lineage.edges import Edge, Lineage, Unresolved
from integrations.lineage.graph import ColumnGraph
from integrations.lineage.memo import Memo, Outline
from integrations.lineage.naming import Path
from integrations.lineage.reader import RESULT
from integrations.lineage.schema import Schema


@dataclass(frozen=True, slots=True)
class ProjectLineage:
    """The lineage of each part, and all edges together.

    Attributes:
        parts: by name (file, view, node), in the order they were read: what is built on comes first.
        circular: the names of parts that read one another in a circle; they were read with what was known.
    """

    parts: Mapping[str, Lineage] = field(default_factory=dict)
    circular: tuple[str, ...] = ()

    @property
    def edges(self) -> frozenset[Edge]:
        """Of all parts."""
        return frozenset().union(*(p.edges for p in self.parts.values()))

    @property
    def unresolved(self) -> tuple[tuple[str, Unresolved], ...]:
        """Of all parts, with the part's name."""
        return tuple((name, u) for name, part in self.parts.items() for u in part.unresolved)

    @property
    def graph(self) -> ColumnGraph:
        """For walking up and down."""
        return ColumnGraph(self.edges)


def views(definitions: Mapping[str, str], *, schema: Schema, memo: Memo | None = None) -> ProjectLineage:
    """Views by name (`schema.view`) → the query, or the CREATE VIEW, that defines each.

    The columns of one view are known to the next. `schema` holds the tables; views in it are replaced by what their
    definition says. With a `memo` only what changed is parsed again.
    """
    return _ordered({name: (sql, name) for name, sql in definitions.items()}, schema, memo or Memo())


def folder(path: File, *, schema: Schema, memo: Memo | None = None) -> ProjectLineage:
    """All `*.sql` below a folder, by relative path, read in the order in which they build on one another.

    Raises UsageError where there is no such folder or a file is not text.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is no folder")
    found = {f.relative_to(path).as_posix(): read_sql(f) for f in sorted(path.rglob("*.sql"))}
    return scripts(found, schema=schema, memo=memo)


def scripts(texts: Mapping[str, str], *, schema: Schema, memo: Memo | None = None) -> ProjectLineage:
    """Scripts by name, read in the order in which they build on one another."""
    return _ordered({name: (sql, f"{name}:{RESULT}") for name, sql in texts.items()}, schema, memo or Memo())


def read_sql(path: File) -> str:
    """The text of a file; raises UsageError where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: a byte at {error.start} cannot be read") from None


def learn(schema: Schema, lineage: Lineage) -> None:
    """Let a schema know the columns of what a script made and left behind."""
    changed = {s.relation for s in lineage.statements if s.kind in ("insert", "merge", "update")}
    for statement in lineage.statements:
        is_made = statement.kind.startswith("create") and not statement.is_temporary
        if is_made and statement.columns and not statement.passes and not statement.unresolved:
            schema.add(statement.relation, statement.columns, () if statement.relation in changed else statement.keys)


def _ordered(given: Mapping[str, tuple[str, str]], schema: Schema, memo: Memo) -> ProjectLineage:
    known = schema.copy()
    outlines = {name: memo.outline(sql, schema=known) for name, (sql, _) in given.items()}
    makers: dict[str, list[tuple[str, Path]]] = {}
    for name, outline in outlines.items():
        made = outline.makes or {known.key_path(given[name][1])}
        for path in made:
            makers.setdefault(path[-1], []).append((name, path))
    needs = {name: _needs(name, outline, makers) for name, outline in outlines.items()}
    order, circular = in_order(needs)
    parts: dict[str, Lineage] = {}
    for name in order:
        sql, relation = given[name]
        lineage = memo.columns_of(sql, schema=known, relation=relation)
        parts[name] = lineage
        learn(known, lineage)
        for statement in lineage.statements:  # a bare query that defines a view
            if statement.kind == "select" and statement.relation == relation and not statement.passes:
                known.add(relation, statement.columns, statement.keys)
    memo.forget_trees()
    return ProjectLineage(parts, circular)


def _needs(name: str, outline: Outline, makers: Mapping[str, Iterable[tuple[str, Path]]]) -> frozenset[str]:
    """The other parts that make what this one reads; a shorter path means any that ends so."""
    return frozenset(
        maker
        for read in outline.reads
        for maker, made in makers.get(read[-1], ())
        if maker != name and _ends_alike(read, made)
    )


def _ends_alike(one: Path, other: Path) -> bool:
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]


def in_order(needs: Mapping[str, Iterable[str]]) -> tuple[list[str], tuple[str, ...]]:
    """Names such that each comes after what it needs, else as given; and those that need one another in a circle."""
    waiting = {name: {n for n in need if n in needs and n != name} for name, need in needs.items()}
    users: dict[str, list[str]] = {}
    for name, need in waiting.items():
        for needed in need:
            users.setdefault(needed, []).append(name)
    place = {name: number for number, name in enumerate(waiting)}
    ready = [name for name, need in waiting.items() if not need]
    order: list[str] = []
    while ready:
        following: list[str] = []
        for name in ready:
            order.append(name)
            for user in users.get(name, ()):
                waiting[user].discard(name)
                if not waiting[user]:
                    following.append(user)
        ready = sorted(following, key=place.__getitem__)
    done = set(order)
    circular = tuple(name for name in waiting if name not in done)
    return [*order, *circular], circular
