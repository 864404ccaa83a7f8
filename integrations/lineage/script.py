"""Scripts: statements read one after the other, temporary objects seen through."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from sqlglot import ErrorLevel, exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from config.errors import UsageError
from integrations.lineage.edges import ROWS, Edge, Lineage, Source, StatementLineage, Target, Unresolved
from integrations.lineage.effects import Effect
from integrations.lineage.naming import Naming, dialect_name
from integrations.lineage.reader import RESULT, Reader
from integrations.lineage.relations import Ref, through
from integrations.lineage.schema import Schema, Tables
from integrations.lineage.session import Session

_TEMPLATE = re.compile(r"\{\{|\{%")


class _Unsaid(logging.Filter):
    """The parser logs SQL it does not read; that text may be confidential, and is reported as unresolved anyway."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "unsupported syntax" not in record.getMessage()


logging.getLogger("sqlglot").addFilter(_Unsaid())


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement: where it begins, its tree, or why it has none."""

    number: int
    line: int
    tree: exp.Expr | None
    why: str = ""


def columns_of(
    sql: str,
    *,
    dialect: str,
    schema: Tables | Schema | None = None,
    default_schema: str = "",
    catalog: str = "",
    relation: str = RESULT,
) -> Lineage:
    """Which columns come from which, for a statement or a script.

    Args:
        sql: one statement or several, separated by semicolons.
        dialect: as sqlglot calls it.
        schema: table → columns; or a `Schema` prepared once (then the next two are its own).
        default_schema: what an unqualified table belongs to.
        catalog: the database all lies in; left out of names.
        relation: what the target of a bare query is called; of several `relation#1`, `relation#2`, by statement.

    Returns the edges; what cannot be resolved is in `unresolved`, an unreadable statement with `is_unread`, and the
    other statements are read all the same. Pure: the same in, the same out. Raises UsageError for an
    unknown dialect, or a schema prepared for another.
    """
    if isinstance(schema, Schema):
        known = schema
        if dialect_name(dialect) != known.naming.name:
            raise UsageError(f"the schema was prepared for {known.naming.name}, not for {dialect}")
    else:
        known = Schema(schema or {}, dialect=dialect, default_schema=default_schema, catalog=catalog)
    return read_script(sql, Session(known), relation=relation)


def read_script(sql: str, session: Session, *, relation: str = RESULT) -> Lineage:
    """The same over a session, which afterwards holds what the script made."""
    return read_parsed(parse(sql, session.schema.naming), session, relation=relation)


def read_parsed(parsed: Sequence[Parsed], session: Session, *, relation: str = RESULT) -> Lineage:
    """The same, of what was parsed before."""
    queries = sum(isinstance(p.tree, exp.Query) and not p.tree.args.get("into") for p in parsed)
    read: list[StatementLineage] = []
    effects: list[Effect] = []
    for one in parsed:
        result = relation if queries == 1 else f"{relation}#{one.number}"
        statement, effect = _read(one, session, result)
        read.append(statement)
        effects.append(effect)
    unresolved = tuple(u for s in read for u in s.unresolved)
    return Lineage(_seen_through(read, effects), unresolved, tuple(read))


def _read(one: Parsed, session: Session, result: str) -> tuple[StatementLineage, Effect]:
    if one.tree is None:
        return _unreadable(one, one.why)
    reader = Reader(session, number=one.number, line=one.line, result=result)
    try:
        return reader.read(one.tree)
    except RecursionError:
        return _unreadable(one, "it is nested too deeply to be read")
    except (AttributeError, TypeError):  # the parser lets some broken statements through, as trees no good one has
        return _unreadable(one, "it is no statement that can be understood")


def _unreadable(one: Parsed, why: str) -> tuple[StatementLineage, Effect]:
    doubt = Unresolved(one.number, one.line, why, is_unread=True)
    return StatementLineage(one.number, one.line, "unreadable", unresolved=(doubt,)), Effect("unreadable")


# --- parsing ---------------------------------------------------------------------------------------------------------


def parse(sql: str, naming: Naming) -> list[Parsed]:
    """The statements of a script. One that cannot be read does not hide the others."""
    try:
        tokens = naming.dialect.tokenize(sql)
    except SqlglotError as error:
        return [Parsed(1, _line_of(error), None, _why(error))]
    except RecursionError:
        return [Parsed(1, 1, None, "it is nested too deeply to be read")]
    chunks = _chunks(tokens)
    if _TEMPLATE.search(sql) and any(_is_template(c) for c in chunks):
        return [_one(number, chunk, sql, naming) for number, chunk in enumerate(chunks, 1)]
    try:
        trees = naming.dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, sql)
    except (SqlglotError, RecursionError):
        return [_one(number, chunk, sql, naming) for number, chunk in enumerate(chunks, 1)]
    kept = [t for t in trees if t is not None and not isinstance(t, exp.Semicolon)]
    lines = [c[0].line for c in chunks] if len(kept) == len(chunks) else [_first_line(t) for t in kept]
    return [Parsed(number, line, tree) for number, (tree, line) in enumerate(zip(kept, lines, strict=True), 1)]


def _one(number: int, chunk: list[Token], sql: str, naming: Naming) -> Parsed:
    line = chunk[0].line
    if _is_template(chunk):
        return Parsed(number, line, None, "it is a template: give the compiled code")
    try:
        trees = naming.dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(chunk, sql)
    except SqlglotError as error:
        return Parsed(number, _line_of(error) or line, None, _why(error))
    except RecursionError:
        return Parsed(number, line, None, "it is nested too deeply to be read")
    return Parsed(number, line, trees[0] if trees else None, "" if trees and trees[0] is not None else "it is empty")


def _is_template(chunk: Sequence[Token]) -> bool:
    """Is there Jinja outside of quotes? The parser takes some of it for SQL."""
    return any(
        one.token_type == TokenType.BLOCK_START
        or (one.text == other.text == "{" and one.token_type == TokenType.L_BRACE and one.end + 1 == other.start)
        for one, other in pairwise(chunk)
    )


def _chunks(tokens: Sequence[Token]) -> list[list[Token]]:
    chunks: list[list[Token]] = [[]]
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            chunks.append([])
        else:
            chunks[-1].append(token)
    return [c for c in chunks if c]


def _first_line(tree: exp.Expr) -> int:
    lines = [i.meta["line"] for i in tree.find_all(exp.Identifier) if "line" in i.meta]
    return min(lines, default=0)


def _line_of(error: SqlglotError) -> int:
    if isinstance(error, ParseError) and error.errors:
        return int(error.errors[0].get("line") or 0)
    found = re.search(r"[Ll]ine:? (\d+)", str(error))
    return int(found[1]) if found else 1


def _why(error: SqlglotError) -> str:
    """The parser's reason in one line, without the SQL it quotes."""
    said = ""
    if isinstance(error, ParseError) and error.errors:
        said = str(error.errors[0].get("description") or "").split("\n", 1)[0].strip().rstrip(".")
    else:
        said = "a token cannot be read (an open quote or comment?)"
    return f"it cannot be read: {said}"


# --- seeing through --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Passing:
    """A relation that is gone afterwards: what its columns and rows come from, as it stands now."""

    columns: dict[str, set[Ref]] = field(default_factory=dict)
    passes: tuple[str, ...] = ()

    def expand(self, column: str) -> set[Ref]:
        found = self.columns.get(column)
        if found is None and column != ROWS and len(self.passes) == 1:
            return {Ref(self.passes[0], column, "value")}
        return found or set()


def _passing_names(read: Sequence[StatementLineage], effects: Sequence[Effect]) -> set[str]:
    """Temporary relations, and those both made and dropped here."""
    names = {s.relation for s in read if s.is_temporary}
    made = {s.relation for s in read if s.kind.startswith("create")}
    last: dict[str, bool] = {}
    for statement, effect in zip(read, effects, strict=True):
        for path in effect.dropped:
            last[path] = True
        if statement.kind.startswith("create"):
            last[statement.relation] = False
    return names | {path for path, is_gone in last.items() if is_gone and path in made}


def _seen_through(read: Sequence[StatementLineage], effects: Sequence[Effect]) -> frozenset[Edge]:
    names = _passing_names(read, effects)
    if not names:
        return frozenset().union(*(s.edges for s in read))
    there: dict[str, _Passing] = {}
    kept: set[Edge] = set()
    for statement, effect in zip(read, effects, strict=True):
        expanded = _expanded(statement.edges, there)
        if statement.kind.startswith("create") and statement.relation in names:
            passes = tuple(o for p in statement.passes for o in (there[p].passes if p in there else (p,)))
            there[statement.relation] = _Passing(passes=passes)
        if statement.kind == "truncate" and statement.relation in there:
            there[statement.relation] = _Passing()
        if statement.kind == "alter" and effect.was in there:
            there[statement.relation] = _renamed(there.pop(effect.was), effect)
        for target, refs in expanded.items():
            if target.relation in there:
                there[target.relation].columns.setdefault(target.column, set()).update(refs)
            else:
                kept.update(Edge(Source(r.table, r.column), target, r.how) for r in refs)
    return frozenset(kept)


def _renamed(passing: _Passing, effect: Effect) -> _Passing:
    renamed = dict(effect.renamed)
    return replace(passing, columns={renamed.get(c, c): refs for c, refs in passing.columns.items()})


def _expanded(edges: Iterable[Edge], there: Mapping[str, _Passing]) -> dict[Target, set[Ref]]:
    found: dict[Target, set[Ref]] = {}
    for edge in edges:
        refs = found.setdefault(edge.target, set())
        passing = there.get(edge.source.table)
        if passing is None:
            refs.add(Ref(edge.source.table, edge.source.column, edge.how))
        else:
            refs |= through(passing.expand(edge.source.column), "value" if edge.how == "rows" else edge.how)
    return found
