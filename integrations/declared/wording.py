"""Statements that the parser hands back unread, taken word by word: types, sequences, names, comments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError

from integrations.base import Constraint, Enumeration, NumberSequence
from integrations.declared.altering import Altering, exchange, on_column
from integrations.declared.creating import missing
from integrations.declared.draft import Draft, Key
from integrations.declared.spelling import Spelling
from integrations.declared.statements import Statement
from integrations.declared.words import Words

_Listed = TypeVar("_Listed", Enumeration, NumberSequence)


def take(draft: Draft, spelling: Spelling, said: Statement) -> bool:
    """Take a statement the parser does not read; False where it is none of those known here."""
    for head, how in _HEADS:
        words = Words(said, spelling)
        if words.take(*head):
            return how(draft, words)
    return False


def _create_type(draft: Draft, words: Words) -> bool:
    named = words.path()
    if not words.take("AS", "ENUM"):
        return True  # a composite type or a range: no structure that is kept
    values = []
    words.need("(")
    while not words.take(")"):
        values.append(words.literal())
        words.take(",")
    draft.enumerations[words.spelling.key(named)] = Enumeration(*words.spelling.shown(named), tuple(values))
    return True


def _alter_type(draft: Draft, words: Words) -> bool:
    named = words.path()
    key = words.spelling.key(named)
    found = draft.enumerations.get(key)
    if words.take("ADD", "VALUE"):
        if found is None:
            raise words.said.wrong(f"there is no type {'.'.join(key)} with listed values")
        draft.enumerations[key] = _with_value(found, words)
    elif words.take("RENAME", "VALUE"):
        before = words.literal()
        words.need("TO")
        after = words.literal()
        if found is None or before not in found.values:
            raise words.said.wrong(f"the type {'.'.join(key)} has no such value")
        draft.enumerations[key] = replace(found, values=tuple(after if v == before else v for v in found.values))
    elif words.take("RENAME", "TO"):
        _moved(draft.enumerations, key, key[0], words.spelling.name(words.name()))
    elif words.take("SET", "SCHEMA"):
        _moved(draft.enumerations, key, words.spelling.name(words.name()), key[1])
    return True


def _with_value(found: Enumeration, words: Words) -> Enumeration:
    is_lenient = words.take("IF", "NOT", "EXISTS")
    value = words.literal()
    values = list(found.values)
    if value in values:
        if is_lenient:
            return found
        raise words.said.wrong(f"the type {found.schema}.{found.name} has this value already")
    place = len(values)
    for word, beyond in (("BEFORE", 0), ("AFTER", 1)):
        if words.take(word):
            beside = words.literal()
            if beside not in values:
                raise words.said.wrong(f"the type {found.schema}.{found.name} has no value to put it {word.lower()}")
            place = values.index(beside) + beyond
    values.insert(place, value)
    return replace(found, values=tuple(values))


def _alter_sequence(draft: Draft, words: Words) -> bool:
    is_lenient = words.take("IF", "EXISTS")
    key = words.spelling.key(words.path())
    found = draft.sequences.get(key)
    if words.take("OWNED") or words.take("OWNER"):
        return True
    if found is None:
        if is_lenient:
            return True
        raise words.said.wrong(f"there is no sequence {'.'.join(key)}")
    if words.take("RENAME", "TO"):
        _moved(draft.sequences, key, key[0], words.spelling.name(words.name()))
    elif words.take("SET", "SCHEMA"):
        _moved(draft.sequences, key, words.spelling.name(words.name()), key[1])
    elif not words.take("RESTART"):
        draft.sequences[key] = replace(found, definition=_redefined(found.definition, words))
    return True


def _redefined(definition: str, words: Words) -> str:
    pairs = definition.split()
    kept = {pairs[i]: pairs[i + 1] for i in range(0, len(pairs) - 1, 2)}
    tail = words.rest().lower().replace(" by ", " ").replace(" with ", " ").split()
    for place, word in enumerate(tail):
        if word in ("increment", "start", "minvalue", "maxvalue") and tail[place + 1 : place + 2]:
            kept[word] = tail[place + 1]
    is_cycle = ("cycle" in pairs or "cycle" in tail) and not ("no" in tail and "cycle" in tail)
    said = [f"{word} {kept[word]}" for word in ("increment", "start", "minvalue", "maxvalue") if word in kept]
    return " ".join([*said, *(["cycle"] if is_cycle else [])])


def _moved(held: dict[Key, _Listed], key: Key, schema: str, name: str) -> None:
    if key in held:
        held[schema, name] = replace(held.pop(key), schema=schema, name=name)


_NO_STRUCTURE = (
    ("OWNER",),
    ("ENABLE",),
    ("DISABLE",),
    ("FORCE",),
    ("NO", "FORCE"),
    ("REPLICA",),
    ("CLUSTER",),
    ("SET", "("),
    ("RESET",),
    ("SET", "WITHOUT"),
    ("SET", "LOGGED"),
    ("SET", "UNLOGGED"),
    ("SET", "TABLESPACE"),
    ("SET", "ACCESS"),
    ("SET", "STATISTICS"),
    ("SET", "STORAGE"),
    ("SET", "COMPRESSION"),
    ("SET", "GENERATED"),
    ("VALIDATE",),
    ("INHERIT",),
    ("NO", "INHERIT"),
    ("DETACH",),
    ("DEPENDS",),
    ("AUTO_INCREMENT",),
    ("ENGINE",),
    ("ORDER", "BY"),
    ("MODIFY", "TTL"),
    ("MODIFY", "SETTING"),
    ("UPDATE",),
    ("DELETE",),
)


def _alter_relation(draft: Draft, words: Words) -> bool:
    is_lenient = words.take("IF", "EXISTS")
    words.take("ONLY")
    named = words.path()
    key = words.spelling.key(named)
    if key not in draft.tables:
        if is_lenient:
            return True
        raise missing(draft, words.spelling.shown(named), words.said)
    change = Altering(draft, words.spelling, words.said, key)
    if words.take("RENAME", "TO"):
        change.move(change.table.schema, words.spelling.name(words.name()))
    elif words.take("SET", "SCHEMA"):
        change.move(words.spelling.name(words.name()), change.table.name)
    elif words.take("RENAME", "CONSTRAINT"):
        _rename_constraint(change, words)
    elif words.take("ATTACH", "PARTITION"):
        draft.tables.pop(words.spelling.key(words.path()), None)  # its parent stands for it
    elif words.take("COMMENT", "COLUMN"):
        on_column(draft, words.spelling, words.said, named, words.spelling.name(words.name()), words.literal())
    else:
        return _alter_part(change, words)
    return True


def _alter_part(change: Altering, words: Words) -> bool:
    if words.take("ADD", "COLUMN", "("):
        return _add_many(change, words)
    if words.take("ADD", "CONSTRAINT"):
        return _by_index(change, words)
    if words.take("ALTER", "COLUMN") or words.take("ALTER"):
        return _alter_column(change, words)
    return any(words.take(*tail) for tail in _NO_STRUCTURE)


def _add_many(change: Altering, words: Words) -> bool:
    """`ADD COLUMN (a …, b …)`: the list reads like that of a new table."""
    listed = words.said.text[words.said.text.index("(") :]
    dialect = words.spelling.naming.dialect
    text = f"CREATE TABLE t {listed}"
    try:
        tree = dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(dialect.tokenize(text), text)[0]
    except SqlglotError:
        return False
    if not isinstance(tree, exp.Create) or not isinstance(tree.this, exp.Schema):
        return False
    change.add_many(tree.this)
    return True


def _rename_constraint(change: Altering, words: Words) -> None:
    before = words.spelling.name(words.name())
    words.need("TO")
    after = words.spelling.name(words.name())
    if all(c.name != before for c in change.table.constraints):
        raise words.said.wrong(f"{change.table.schema}.{change.table.name} has no constraint {before}")
    change.table.constraints = [replace(c, name=after) if c.name == before else c for c in change.table.constraints]


def _by_index(change: Altering, words: Words) -> bool:
    """`ADD CONSTRAINT c UNIQUE USING INDEX i`: the index becomes the key."""
    name = words.spelling.name(words.name())
    kind = "primary_key" if words.take("PRIMARY", "KEY") else "unique" if words.take("UNIQUE") else ""
    if not kind or not words.take("USING", "INDEX"):
        return False
    wanted = words.spelling.name(words.name())
    found = next((i for i in change.table.indexes if i.name == wanted), None)
    if found is None:
        raise words.said.wrong(f"there is no index {wanted}")
    change.table.indexes.remove(found)
    listed = ", ".join(found.columns)
    text = f"PRIMARY KEY ({listed})" if kind == "primary_key" else f"UNIQUE ({listed})"
    change.table.constrain(Constraint(name, kind, found.columns, text))
    return True


def _alter_column(change: Altering, words: Words) -> bool:
    column = words.spelling.name(words.name())
    if words.take("ADD", "GENERATED"):
        numbering = "always" if words.take("ALWAYS") else "by default"
        if not change.table.change(column, numbering=numbering, nullable=False):
            raise words.said.wrong(f"{change.table.schema}.{change.table.name} has no column {column}")
        return True
    if words.take("DROP", "IDENTITY"):
        change.table.change(column, numbering="")
        return True
    if words.take("DROP", "EXPRESSION"):
        change.table.change(column, generated="")
        return True
    if words.take("SET", "OPTIONS", "(", "DESCRIPTION", "="):
        change.table.change(column, comment=words.literal())
        return True
    return any(words.take(*tail) for tail in _NO_STRUCTURE)


def _rename_tables(draft: Draft, words: Words) -> bool:
    while words:
        words.take(",")
        before = words.path()
        words.need("TO")
        after = words.path()
        key = words.spelling.key(before)
        if key not in draft.tables:
            raise missing(draft, words.spelling.shown(before), words.said)
        schema, name = words.spelling.shown(after)
        Altering(draft, words.spelling, words.said, key).move(schema, name)
    return True


def _exchange(draft: Draft, words: Words) -> bool:
    one = words.path()
    words.need("AND")
    other = words.path()
    for named in (one, other):
        if words.spelling.key(named) not in draft.tables:
            raise missing(draft, words.spelling.shown(named), words.said)
    exchange(draft, words.spelling.key(one), words.spelling.key(other))
    return True


def _rename_schema(draft: Draft, words: Words) -> bool:
    before = words.spelling.name(words.name())
    if words.take("RENAME", "TO"):
        after = words.spelling.name(words.name())
        for key in [k for k in draft.tables if k[0] == before]:
            Altering(draft, words.spelling, words.said, key).move(after, draft.tables[key].name)
        for key in [k for k in draft.enumerations if k[0] == before]:
            _moved(draft.enumerations, key, after, key[1])
        for key in [k for k in draft.sequences if k[0] == before]:
            _moved(draft.sequences, key, after, key[1])
    return True


def _comment(draft: Draft, words: Words) -> bool:
    """`… IS NULL`, which takes a comment away; comments on other things than these are passed over."""
    if words.take("COLUMN"):
        parts = [words.name()]
        while words.take("."):
            parts.append(words.name())
        words.need("IS", "NULL")
        table = exp.Table(this=parts[-2], db=parts[-3] if len(parts) > 2 else None)  # noqa: PLR2004 - with a schema
        on_column(draft, words.spelling, words.said, table, words.spelling.name(parts[-1]), "")
    elif words.take("TABLE") or words.take("VIEW") or words.take("MATERIALIZED", "VIEW"):
        named = words.path()
        found = draft.tables.get(words.spelling.key(named))
        if found is None:
            raise missing(draft, words.spelling.shown(named), words.said)
        words.need("IS", "NULL")
        found.comment = ""
    return True


_HEADS: Sequence[tuple[tuple[str, ...], Callable[[Draft, Words], bool]]] = (
    (("CREATE", "TYPE"), _create_type),
    (("ALTER", "TYPE"), _alter_type),
    (("ALTER", "SEQUENCE"), _alter_sequence),
    (("ALTER", "TABLE"), _alter_relation),
    (("ALTER", "VIEW"), _alter_relation),
    (("ALTER", "MATERIALIZED", "VIEW"), _alter_relation),
    (("ALTER", "SCHEMA"), _rename_schema),
    (("RENAME", "TABLE"), _rename_tables),
    (("EXCHANGE", "TABLES"), _exchange),
    (("COMMENT", "ON"), _comment),
)
