"""What was read once and need not be read again: only what changed is parsed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from sqlglot import exp

from integrations.lineage.edges import Lineage
from integrations.lineage.naming import Path
from integrations.lineage.reader import RESULT
from integrations.lineage.schema import Schema
from integrations.lineage.script import Parsed, parse, read_parsed
from integrations.lineage.session import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outline:
    """The tables a script reads and those it makes or changes, as it writes them (keys)."""

    reads: frozenset[Path]
    makes: frozenset[Path]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Lineage, and what was asked of the schema for it: it holds as long as the answers are the same."""

    asked: tuple[tuple[Path, Path, str], ...]
    lineage: Lineage


class Memo:
    """Remembers lineage by the text, the dialect and the part of the schema that was asked.

    A table elsewhere may change as it likes; a column added to a table that the SQL names makes it read again. The
    least recently used are forgotten beyond `size`. `hits` and `misses` count. Not for several threads at once.
    """

    def __init__(self, *, size: int = 20_000) -> None:
        self.size = size
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._outlines: OrderedDict[bytes, Outline] = OrderedDict()
        self._parsed: dict[bytes, list[Parsed]] = {}  # by an outline, for the reading that follows

    def columns_of(self, sql: str, *, schema: Schema, relation: str = RESULT) -> Lineage:
        """As `columns_of`, from memory where nothing it rests on has changed."""
        text = _hash(schema.naming.name, sql)
        key = _hash(text.hex(), relation, *schema.default, "/", schema.catalog)
        kept = self._kept.get(key)
        if kept is not None and all(
            (schema if default == schema.default else schema.within(default)).fingerprint(parts) == fingerprint
            for default, parts, fingerprint in kept.asked
        ):
            self.hits += 1
            self._kept.move_to_end(key)
            return kept.lineage
        self.misses += 1
        session = Session(schema)
        parsed = self._parsed.pop(text, None)
        lineage = read_parsed(parse(sql, schema.naming) if parsed is None else parsed, session, relation=relation)
        asked = tuple((default, parts, fingerprint) for (default, parts), fingerprint in session.asked.items())
        _keep(self._kept, key, _Kept(asked, lineage), self.size)
        return lineage

    def outline(self, sql: str, *, schema: Schema) -> Outline:
        """Which tables a script reads and makes, to put scripts in order; the tree is kept for reading them."""
        text = _hash(schema.naming.name, sql)
        if text in self._outlines:
            self._outlines.move_to_end(text)
            return self._outlines[text]
        parsed = parse(sql, schema.naming)
        self._parsed[text] = parsed
        found = _outline(parsed, schema)
        _keep(self._outlines, text, found, self.size)
        return found

    def forget_trees(self) -> None:
        """Let go of trees that nobody came to read."""
        self._parsed.clear()


def _keep(kept: OrderedDict[bytes, T], key: bytes, value: T, size: int) -> None:
    kept[key] = value
    while len(kept) > size:
        kept.popitem(last=False)


def _hash(*parts: str) -> bytes:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def _outline(parsed: list[Parsed], schema: Schema) -> Outline:
    reads: set[Path] = set()
    makes: set[Path] = set()
    for one in parsed:
        if one.tree is None:
            continue
        tree = one.tree
        made = _made(tree)
        ctes = {schema.naming.of(c.args["alias"].this) for c in tree.find_all(exp.CTE)}
        for table in tree.find_all(exp.Table):
            if not isinstance(table.this, exp.Identifier):
                continue
            parts = schema.naming.parts(table)
            if table is made:
                makes.add(parts)
            elif not (len(parts) == 1 and schema.naming.of(table.this) in ctes):
                reads.add(parts)
    return Outline(frozenset(reads - makes), frozenset(makes))


def _made(tree: exp.Expr) -> object:
    """The table a statement makes or changes."""
    if isinstance(tree, (exp.Create, exp.Insert, exp.Update, exp.Delete, exp.Merge)):
        head: object = tree.this
        return head.this if isinstance(head, exp.Schema) else head
    into = tree.args.get("into")
    return into.this if into is not None else None
