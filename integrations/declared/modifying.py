"""Changes of tables in the words of single dialects, which the parser does not read or takes for others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError

from integrations.base import Column, Constraint, Index
from integrations.declared.altering import Altering, said_anew
from integrations.declared.attributes import without_attributes
from integrations.declared.columns import column_of
from integrations.declared.draft import Draft
from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement
from integrations.declared.words import Words

# How rows are kept, and who may see them: no structure that is told.
PASSED: Final[Sequence[tuple[str, ...]]] = (
    ("ALTER", "DISTKEY"),
    ("ALTER", "DISTSTYLE"),
    ("ALTER", "SORTKEY"),
    ("ALTER", "COMPOUND"),
    ("ALTER", "INTERLEAVED"),
    ("ALTER", "ENCODE"),
    ("CLUSTER", "BY"),
    ("CLUSTER BY",),
    ("DROP", "CLUSTERING"),
    ("SUSPEND",),
    ("RESUME",),
    ("SET", "TAG"),
    ("UNSET", "TAG"),
    ("ADD", "SEARCH"),
    ("DROP", "SEARCH"),
    ("DROP", "UNUSED"),
    ("MOVE",),
    ("MOVE", "ONLINE"),
    ("NOCHECK",),
    ("CHECK", "CONSTRAINT"),
    ("WITH", "CHECK", "CHECK"),
    ("WITH", "NOCHECK", "CHECK"),
    ("REBUILD",),
    ("SET", "PROPERTIES"),
    ("EXECUTE",),
    ("MODIFY", "ORDER"),
    ("MODIFY", "ORDER BY"),
    ("MODIFY", "TTL"),
    ("MODIFY", "SETTING"),
    ("RESET", "SETTING"),
    ("MATERIALIZE",),
    ("FREEZE",),
    ("OPTIMIZE",),
    ("SHRINK",),
    ("LOGGING",),
    ("NOLOGGING",),
    ("PARALLEL",),
    ("NOPARALLEL",),
)
_TYPELESS: Final = frozenset(
    {"DEFAULT", "NULL", "NOT", "CONSTRAINT", "CODEC", "COMMENT", "TTL", "ENCRYPT", "DECRYPT", "VISIBLE", "INVISIBLE"}
    | {"MATERIALIZED", "ALIAS", "PRIMARY", "UNIQUE", "CHECK", "ENABLE", "DISABLE"}
)
_COLUMN_PASSED: Final[Sequence[tuple[str, ...]]] = (
    ("SET", "MASKING"),
    ("UNSET", "MASKING"),
    ("SET", "PROJECTION"),
    ("UNSET", "PROJECTION"),
    ("SET", "TAG"),
    ("UNSET", "TAG"),
    ("ENCODE",),
    ("REMOVE", "CODEC"),
    ("REMOVE", "TTL"),
    ("MODIFY", "SETTING"),
)

_SPOKEN: Final[Mapping[type[exp.Expr], str]] = {
    exp.NotNullColumnConstraint: "nullable",
    exp.DefaultColumnConstraint: "default",
    exp.CommentColumnConstraint: "comment",
    exp.ComputedColumnConstraint: "generated",
}


def take(draft: Draft, spelling: Spelling, said: Statement) -> bool:
    """Take an ALTER TABLE; False where it is none of those known here."""
    words = Words(said, spelling)
    if not words.take("ALTER", "TABLE"):
        return False
    words.take("IF", "EXISTS")
    key = spelling.key(words.path())
    if key not in draft.tables:
        return False  # the parser knows whether that is allowed
    if words.take("ON", "CLUSTER"):
        words.name()
    return _take(Altering(draft, spelling, said, key), words)


def _take(change: Altering, words: Words) -> bool:
    if any(words.ahead(*tail) for tail in PASSED):
        return True
    return any(words.ahead(*head, *then) and how(change, words.copy().past(*head)) for head, then, how in _HEADS)


def _drop(change: Altering, words: Words) -> bool:
    """`DROP (a, b)`, `DROP COLUMNS (a, b)`, `SET UNUSED a`: those columns are gone."""
    words.take("COLUMN")
    is_list = words.take("(")
    names = [words.name()]
    while is_list and words.take(","):
        names.append(words.name())
    if is_list:
        words.need(")")
    while words.take("CASCADE") or words.take("CONSTRAINTS") or words.take("ONLINE"):
        continue
    if words:
        return False
    for name in names:
        shown = change.spelling.name(name)
        if not change.table.drop_column(shown):
            raise change.none("column", shown)
    return True


def _rename_columns(change: Altering, words: Words) -> bool:
    """`RENAME COLUMN a TO b, RENAME COLUMN c TO d`; together, so that two may exchange their names."""
    pairs = []
    while True:
        is_lenient = words.take("IF", "EXISTS")
        before = change.spelling.name(words.name())
        if not words.take("TO"):
            return False
        pairs.append((before, change.spelling.name(words.name()), is_lenient))
        if not words.take(",", "RENAME", "COLUMN"):
            break
    if words:
        return False
    there = [(b, a) for b, a, is_lenient in pairs if change.table.place(b) is not None or not is_lenient]
    for number, (before, _) in enumerate(there):
        change.rename(before, f"\0{number}")
    for number, (_, after) in enumerate(there):
        change.rename(f"\0{number}", after)
    return True


def _change_column(change: Altering, words: Words) -> bool:
    """`CHANGE a b type … [FIRST | AFTER c]`: another name, the whole column said anew."""
    words.take("COLUMN")
    before = change.spelling.name(words.name())
    return _anew(change, words, before)


def _modify(change: Altering, words: Words) -> bool:
    """`MODIFY a …` and `MODIFY (a …, b …)`: in MySQL all of the column, elsewhere what is said of it."""
    is_column = words.take("COLUMN")
    if words.spelling.dialect in ("mysql", "singlestore", "doris", "starrocks"):
        return _anew(change, words, "")
    if words.take("("):
        listed = words.group()
        return listed is not None and not words and all(_modify_one(change, one) for one in listed)
    words.take("IF", "EXISTS")
    parts = words.parts()
    if len(parts) > 1 and not is_column and words.spelling.dialect != "snowflake":
        return False
    return all(_modify_one(change, one) for one in parts)


def _modify_one(change: Altering, words: Words) -> bool:
    words.take("MODIFY")
    words.take("ALTER")
    words.take("COLUMN")
    name = change.spelling.name(words.name())
    if change.table.place(name) is None:
        raise change.none("column", name)
    said = _said_of_column(words)
    if said is not None:
        change.table.change(name, **said)
        return True
    if any(words.ahead(*tail) for tail in _COLUMN_PASSED):
        return True
    if words.ahead("FIRST") or words.ahead("AFTER"):
        return _put(change, words, name)
    return _partly(change, words, name)


def _said_of_column(words: Words) -> dict[str, object] | None:
    """What `SET NOT NULL` and its kin change; None where it is none of these."""
    plain: Mapping[tuple[str, ...], dict[str, object]] = {
        ("SET", "NOT", "NULL"): {"nullable": False},
        ("DROP", "NOT", "NULL"): {"nullable": True},
        ("DROP", "DEFAULT"): {"default": None},
        ("REMOVE", "DEFAULT"): {"default": None},
        ("REMOVE", "COMMENT"): {"comment": ""},
        ("UNSET", "COMMENT"): {"comment": ""},
        ("REMOVE", "MATERIALIZED"): {"generated": ""},
        ("REMOVE", "ALIAS"): {"generated": ""},
    }
    for tail, said in plain.items():
        if words.ahead(*tail) and len(words) == len(tail):
            return said
    if words.ahead("COMMENT") and len(words) == 2:  # noqa: PLR2004 - the word and the text
        return {"comment": words.past("COMMENT").literal()}
    return None


def _partly(change: Altering, words: Words, name: str) -> bool:
    """What is said of a column in the words of its definition: its type, its default, whether nulls are allowed."""
    if words.ahead("SET", "DATA", "TYPE"):
        words.past("SET", "DATA", "TYPE")
    elif words.ahead("TYPE"):
        words.past("TYPE")
    if not words:
        return False
    first = words.peek()
    is_typed = first not in _TYPELESS
    told = _defined(change, f"{'' if is_typed else 'INT '}{words.text()}", words.said)
    if told is None:
        return False
    column, own, spoken = told
    if column.default in ("NULL", "null"):
        column = column._replace(default=None)
    said = {what for kind, what in _SPOKEN.items() if kind in spoken} | ({"type"} if is_typed else set())
    if is_typed and change.spelling.dialect == "clickhouse":
        said.add("nullable")  # there it is part of the type
    change.table.change(name, **{what: getattr(column, what) for what in said})
    for constraint in own:
        change.table.constrain(constraint)
    return True


def _anew(change: Altering, words: Words, before: str) -> bool:
    """A column said anew, its name first; it keeps its place unless another is said."""
    name = change.spelling.name(words.name())
    body, place = words.split_place()
    told = _defined(change, body.text(), words.said)
    if told is None:
        return False
    column, own, _ = told
    if before and before != name:
        change.rename(before, name)
    if not change.table.change(name, **said_anew(column)):
        raise change.none("column", name)
    for constraint in own:
        change.table.constrain(constraint)
    return place is None or _put(change, place, name)


def _put(change: Altering, words: Words, name: str) -> bool:
    """FIRST, or AFTER another."""
    here = change.table.place(name)
    if here is None:
        raise change.none("column", name)
    column = change.table.columns[here]
    if words.take("FIRST"):
        after = -1
    else:
        words.need("AFTER")
        other = change.spelling.name(words.name())
        found = change.table.place(other)
        if found is None:
            raise change.none("column", other)
        after = found
    if words:
        return False
    change.table.columns.remove(column)
    change.table.columns.insert(after + 1 if after < here else after, column)
    return True


def _defined(
    change: Altering, body: str, said: Statement
) -> tuple[Column, list[Constraint], frozenset[type[exp.Expr]]] | None:
    """A column's definition without its name, the keys written behind it, and what it spoke of."""
    spelling = change.spelling
    tree = _column(spelling, body) or _column(spelling, _stripped(spelling, body, said))
    if tree is None:
        return None
    column, own = column_of(tree, spelling, change.table.name)
    return column, own, frozenset(type(c.args.get("kind")) for c in tree.args.get("constraints") or ())


def _stripped(spelling: Spelling, body: str, said: Statement) -> str:
    text = f"c {body}"
    try:
        tokens = tuple(spelling.naming.dialect.tokenize(text))
    except SqlglotError:
        return body
    return without_attributes(Statement(said.number, said.line, text, tokens, ()), spelling.dialect).removeprefix("c ")


def _column(spelling: Spelling, body: str) -> exp.ColumnDef | None:
    dialect = spelling.naming.dialect
    text = f"CREATE TABLE t (c {body})"
    try:
        tree = dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(dialect.tokenize(text), text)[0]
    except (SqlglotError, RecursionError):
        return None
    listed = tree.this.expressions if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Schema) else []
    return listed[0] if len(listed) == 1 and isinstance(listed[0], exp.ColumnDef) else None


def _comment(change: Altering, words: Words) -> bool:
    words.take("=")
    change.table.comment = words.literal()
    return not words


def _no_comment(change: Altering, _: Words) -> bool:
    change.table.comment = ""
    return True


def _default_for(change: Altering, words: Words) -> bool:
    """T-SQL's `ADD CONSTRAINT c DEFAULT (0) FOR a`."""
    name = change.spelling.name(words.name()) if not words.ahead("DEFAULT") else ""
    body, column = words.split_last("FOR")
    if column is None or not body.ahead("DEFAULT"):
        return False
    shown = change.spelling.name(column.name())
    told = _defined(change, f"INT {body.text()}", words.said)
    if told is None or column:
        return False
    if not change.table.change(shown, default=told[0].default):
        raise change.none("column", shown)
    if name:
        change.table.defaults[name.lower()] = shown
    return True


def _alter_column(change: Altering, words: Words) -> bool:
    """`ALTER COLUMN a …, COLUMN b …`; T-SQL's, which says the type and, left out, that nulls are allowed."""
    if words.spelling.dialect in ("tsql", "fabric"):
        name = change.spelling.name(words.name())
        if words.ahead("ADD") or words.ahead("DROP"):
            return False
        told = _defined(change, words.text(), words.said)
        if told is None:
            return False
        column, _, spoken = told
        nullable = column.nullable if exp.NotNullColumnConstraint in spoken else True
        if not change.table.change(name, type=column.type, nullable=nullable):
            raise change.none("column", name)
        return True
    if words.spelling.dialect in ("snowflake", "databricks", "spark", "clickhouse", "redshift"):
        return all(_modify_one(change, one) for one in words.parts())
    return False


def _add_index(change: Altering, words: Words) -> bool:
    """ClickHouse's `ADD INDEX i column TYPE …`; one over an expression stays unread."""
    if words.spelling.dialect != "clickhouse":
        return False
    words.take("IF", "NOT", "EXISTS")
    name = change.spelling.name(words.name())
    column = change.spelling.name(words.name())
    if not words.ahead("TYPE") or change.table.place(column) is None:
        return False
    change.table.indexes.append(Index(name, (column,)))
    return True


_HEADS: Final[Sequence[tuple[tuple[str, ...], tuple[str, ...], Callable[[Altering, Words], bool]]]] = (
    (("DROP", "COLUMNS"), (), _drop),
    (("DROP",), ("(",), _drop),
    (("SET", "UNUSED"), (), _drop),
    (("RENAME", "COLUMN"), (), _rename_columns),
    (("CHANGE",), (), _change_column),
    (("MODIFY", "COMMENT"), (), _comment),
    (("MODIFY",), (), _modify),
    (("SET", "COMMENT"), (), _comment),
    (("UNSET", "COMMENT"), (), _no_comment),
    (("ADD", "CONSTRAINT"), (), _default_for),
    (("ADD",), ("DEFAULT",), _default_for),
    (("ADD", "INDEX"), (), _add_index),
    (("ALTER", "COLUMN"), (), _alter_column),
    (("ALTER",), (), _alter_column),
)
