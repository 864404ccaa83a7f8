"""Renaming and recasting a source column in a model's text by token positions; everything else stays byte for byte.

The names a model hands on stay as they are, so nothing downstream changes. What was meant is done to the syntax tree
too, and the edited text must parse to exactly that tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from agents.editing.jinja import Kind, Masked, mask
from agents.editing.names import Unclear, fold, spell
from agents.editing.scopes import Survey, Use

_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*( [a-z][a-z0-9_]*)*(\(\d+(, ?\d+)?\))?( with(out)? time zone)?(\[\])?")
_ENDS_ITEM: Final = frozenset(
    {
        TokenType.COMMA,
        TokenType.FROM,
        TokenType.WHERE,
        TokenType.GROUP_BY,
        TokenType.HAVING,
        TokenType.WINDOW,
        TokenType.ORDER_BY,
        TokenType.LIMIT,
        TokenType.OFFSET,
        TokenType.FETCH,
        TokenType.UNION,
        TokenType.EXCEPT,
        TokenType.INTERSECT,
        TokenType.SEMICOLON,
    }
)


@dataclass(frozen=True, slots=True)
class Rename:
    """The column goes by another name now."""

    after: str


@dataclass(frozen=True, slots=True)
class Cast:
    """The column has another type now; read it as it was before."""

    type: str


Change: TypeAlias = Rename | Cast


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text, and how many places were touched (0: the text is as it was)."""

    text: str
    places: int


@dataclass(frozen=True, slots=True)
class _Splice:
    """Replace text[start:end]."""

    start: int
    end: int
    text: str


def edit_columns(
    text: str,
    changes: Mapping[str, Change],
    *,
    table: str,
    source: tuple[str, str],
    dialect: str = "postgres",
) -> Edited:
    """Edit a model's text so that it reads changed columns of one source table.

    Args:
        text: the model as written, Jinja and all.
        changes: what became of columns, by the names the model knows them by.
        table: `schema.name` of the changed table.
        source: (source name, table name) as `{{ source(…) }}` has them.
        dialect: of the SQL, as sqlglot calls it.

    Raises:
        Unclear: it is not certain what to touch; nothing is guessed.
    """
    masked = mask(text)
    _refuse_hidden(masked, changes, source)
    tree = _parse(masked.text, dialect)
    uses = _uses(tree, masked, changes, table, source, dialect)
    if not uses:
        return Edited(text, 0)
    tokens = sqlglot.tokenize(masked.text, dialect=dialect)
    splices = [s for use in uses for s in _splices(use, changes, masked, tokens, dialect)]
    edited = _apply(text, splices)
    meant = _mutated(tree, uses, changes, dialect)
    if _parse(_apply(masked.text, splices), dialect) != meant:
        raise Unclear("the edited text would not mean what was intended")
    return Edited(edited, len(uses))


def _refuse_hidden(masked: Masked, changes: Mapping[str, Change], source: tuple[str, str]) -> None:
    if word := masked.mentions(list(changes)):
        raise Unclear(f"Jinja in the model names {word}")
    call = re.compile(rf"source\s*\([^)]*['\"]{re.escape(source[1])}['\"]")
    for region in masked.regions:
        if region.kind in (Kind.OPAQUE, Kind.SILENT) and not region.text.startswith("{#") and call.search(region.text):
            raise Unclear("the changed table is handed to a Jinja expression")


def _parse(text: str, dialect: str) -> exp.Expr:
    try:
        trees = [t for t in sqlglot.parse(text, dialect=dialect) if t is not None]
    except SqlglotError as error:
        raise Unclear("the model cannot be parsed once its Jinja is masked") from error
    if len(trees) != 1:
        raise Unclear("the model is not one query")
    return trees[0]


def _uses(
    tree: exp.Expr,
    masked: Masked,
    changes: Mapping[str, Change],
    table: str,
    source: tuple[str, str],
    dialect: str,
) -> list[Use]:
    schema, _, name = table.partition(".")
    survey = Survey(
        target=(schema, name),
        source=source,
        names=frozenset(changes),
        fresh=frozenset(c.after for c in changes.values() if isinstance(c, Rename)) - frozenset(changes),
        placeholders=masked.placeholders,
        dialect=dialect,
        # `{{ this }}` holds what the model itself hands on; assumed to know the names until that is known.
        own=frozenset(changes),
    )
    final = survey.query(tree, {}, None)
    if final.columns is not None:
        survey = replace(survey, own=final.columns, uses=[], seen=0, members=set())
        final = survey.query(tree, {}, None)
    if not survey.seen:
        raise Unclear("the model does not read the changed table where that can be seen")
    if final.changed:
        raise Unclear("the model hands all columns on by `select *`")
    unique = {id(use.column): use for use in survey.uses}
    return list(unique.values())


def _splices(
    use: Use, changes: Mapping[str, Change], masked: Masked, tokens: list[Token], dialect: str
) -> Iterator[_Splice]:
    start, end = _span(use.column.this)
    written = masked.text[start:end]
    change = changes[fold(use.column.this, dialect)]
    if isinstance(change, Rename):
        qualifier = f"{_qualifier(use, masked, dialect)}." if use.crowded else ""
        yield _Splice(start, end, f"{qualifier}{spell(change.after, dialect)}")
    else:
        if not _TYPE.fullmatch(change.type):
            raise Unclear(f"{change.type!r} is not the name of a plain type")
        qualifiers = [q for q in use.column.parts[:-1] if isinstance(q, exp.Identifier)]
        first = _span(qualifiers[0])[0] if qualifiers else start
        yield _Splice(first, first, "cast(")
        yield _Splice(end, end, f" as {change.type})")
    if use.item is not None:
        at = end if use.item is use.column else _item_end(tokens, start)
        yield _Splice(at, at, f" as {written}")


def _span(identifier: exp.Expr) -> tuple[int, int]:
    if "start" not in identifier.meta:
        raise Unclear("the place of a name in the text is not known")
    return int(identifier.meta["start"]), int(identifier.meta["end"]) + 1


def _qualifier(use: Use, masked: Masked, dialect: str) -> str:
    if use.relation.token is not None:
        start, end = _span(use.relation.token)
        return masked.text[start:end]
    if not use.relation.name:
        raise Unclear("the changed table has no name in the query")
    return spell(use.relation.name, dialect)


def _item_end(tokens: list[Token], start: int) -> int:
    """Where the select item ends that holds the token at `start` within casts and brackets only."""
    at = next(i for i, t in enumerate(tokens) if t.start == start)
    depth, i = 0, at - 1
    while i >= 0 and (
        tokens[i].token_type in (TokenType.L_PAREN, TokenType.DOT, TokenType.VAR, TokenType.IDENTIFIER)
        or tokens[i].text.lower() == "cast"
    ):
        depth += tokens[i].token_type is TokenType.L_PAREN
        i -= 1
    i = at
    while i < len(tokens):
        kind = tokens[i].token_type
        if kind is TokenType.R_PAREN and depth == 0:
            break
        if kind in _ENDS_ITEM and depth == 0:
            break
        depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        i += 1
    return int(tokens[i - 1].end) + 1


def _apply(text: str, splices: list[_Splice]) -> str:
    """Backwards, so that positions stay true; at one place the later of two insertions stays behind the earlier."""
    for _, splice in sorted(enumerate(splices), key=lambda s: (s[1].start, s[1].end, s[0]), reverse=True):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def _mutated(tree: exp.Expr, uses: list[Use], changes: Mapping[str, Change], dialect: str) -> exp.Expr:
    """The tree as it is meant to be; made of the nodes the uses hold."""
    for use in uses:
        column = use.column
        change = changes[fold(column.this, dialect)]
        written = column.this.copy()
        item = use.item
        if isinstance(change, Rename):
            is_quoted = spell(change.after, dialect) != change.after
            fresh = exp.column(exp.to_identifier(change.after, quoted=is_quoted))
            if column.args.get("table") is not None:
                fresh.set("table", column.args["table"].copy())
            elif use.crowded:
                token = use.relation.token
                name = use.relation.name
                plain = exp.to_identifier(name, quoted=spell(name, dialect) != name)
                fresh.set("table", token.copy() if token is not None else plain)
            made: exp.Expr = fresh
        else:
            made = exp.cast(column.copy(), change.type, dialect=dialect)
        if item is column:
            column.replace(exp.alias_(made, written, copy=False))
            continue
        column.replace(made)
        if item is not None:
            item.replace(exp.alias_(item.copy(), written, copy=False))
    return tree
