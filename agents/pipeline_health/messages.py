"""What a tool's error text says, read by patterns. The text is data: it is matched, quoted, and never obeyed.

PostgreSQL's wording comes first; a few lines cover what other warehouses say. To teach it a new wording, add a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from config.masking import mask

LONGEST: Final = 2000

_MISSING_COLUMN: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r'column "(?P<name>[^\n]+?)" of relation "[^\n]+?" does not exist',
        r'column "(?P<name>[^\n]+?)" does not exist',
        r"column (?P<name>[^\"\n]+?) does not exist",
        r'does not have a column named "(?P<name>[^"\n]+)"',
        r'referenced column "(?P<name>[^"\n]+)" not found',
        r"unknown column '(?P<name>[^'\n]+)'",
        r"invalid identifier '(?P<name>[^'\n]+)'",
        r"unrecognized name: (?P<name>[^\s;]+)",
    )
)
_MISSING_RELATION: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r'relation "(?P<name>[^\n]+?)" does not exist',
        r"table with name (?P<name>\S+) does not exist",
        r"table '(?P<name>[^'\n]+)' doesn't exist",
        r"object '(?P<name>[^'\n]+)' does not exist",
        r"not found: table (?P<name>\S+)",
    )
)
_TYPE_TROUBLE: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"operator does not exist: (?P<types>[^\n]+)",
        r"function [^\n(]*\((?P<types>[^)\n]*)\) does not exist",
        r"types (?P<types>[^\n]+? and [^\n]+?) cannot be matched",
        r"cannot cast type (?P<types>[^\n]+? to [^\n]+)",
        r"is of type (?P<types>[^\n]+? but expression is of type [^\n]+)",
        r"invalid input syntax for (?:type )?(?P<types>[a-z ]+)",
        r"must be type (?P<types>[^\n]+)",
        r"could not (?:convert|cast) (?:type )?(?P<types>[^\n]+)",
        r"(?P<types>\w+) out of range",
        r"numeric (?:field overflow|value '[^'\n]*' is not recognized)",
        r"no matching signature for (?P<types>[^\n]+)",
    )
)
_TRANSIENT: Final = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "lock_timeout": r"lock timeout|could not obtain lock|lock wait timeout",
        "deadlock": r"deadlock",
        "serialization": r"could not serialize access|concurrent update|tuple concurrently updated",
        "statement_timeout": r"statement timeout|query (?:was )?cancell?ed",
        "vanished": r"could not open relation with oid|cache lookup failed for",
        "connection": (
            r"connection (?:reset|refused|timed out|was closed|already closed|is closed|not open)"
            r"|server closed the connection|terminating connection|could not connect|connection to server"
            r"|the database system is (?:starting up|shutting down|in recovery)|connection pointer is null"
            r"|remaining connection slots|too many (?:clients|connections)|ssl (?:connection|syscall)|broken pipe"
            r"|network is unreachable|eof detected|name resolution|conflict with recovery"
        ),
        "timeout": r"timed out|timeout expired|timeout exceeded",
    }.items()
}
_FOR_GOOD: Final = re.compile(
    r"authentication failed|not permitted to log in|no pg_hba\.conf entry|permission denied"
    r"|(?:role|database) \"[^\"\n]*\" does not exist",
    re.IGNORECASE,
)
_VALUES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(invalid input (?:syntax|value) for [^:\n]*): \"[^\n]*\"", r'\1: "…"'),
        (r"(Key \([^)\n]*\))=\([^\n]*?\)(?= |\n|$|\.)", r"\1=(…)"),
        (r"(Failing row contains) \([^\n]*\)", r"\1 (…)"),
        (r"(value) \"[^\n]*\" (is out of range)", r'\1 "…" \2'),
        (r"(field value out of range): \"[^\n]*\"", r'\1: "…"'),
        (r"(value) '[^'\n]*' (is not recognized)", r"\1 '…' \2"),
    )
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an error text says.

    Attributes:
        columns: names it misses, as written (perhaps behind an alias and a dot).
        relations: relations it misses, as written.
        types: text that names the types it stumbled over; empty where it names none.
        is_type_trouble: does it complain of types?
        transient: the signature of a failure that passes by itself, else empty.
    """

    columns: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    types: str = ""
    is_type_trouble: bool = False
    transient: str = ""

    @property
    def is_structural(self) -> bool:
        """Does it sound as if the structure below had changed?"""
        return bool(self.columns or self.relations or self.is_type_trouble)

    def misses_column(self, column: str) -> bool:
        """Is that one of the columns it misses?"""
        wanted = column.lower()
        return any(name.lower() == wanted or name.lower().endswith(f".{wanted}") for name in self.columns)

    def misses_relation(self, path: str) -> bool:
        """Is that (`schema.table`) one of the relations it misses, by its full or its bare name?"""
        wanted = path.lower()
        bare = wanted.partition(".")[2] or wanted
        return any(n.lower() in (wanted, bare) or n.lower().endswith(f".{wanted}") for n in self.relations)

    def names_type(self, type_: str) -> bool:
        """Does it name that type?"""
        return (
            re.search(rf"(?<![\w]){re.escape(type_.partition('(')[0].strip().lower())}(?![\w])", self.types) is not None
        )


def read(message: str) -> Reading:
    """Read an error text."""
    columns = _first(_MISSING_COLUMN, message)
    relations = _first(_MISSING_RELATION, message)
    trouble = [found for pattern in _TYPE_TROUBLE if (found := pattern.search(message))]
    types = " ".join(found.groupdict().get("types") or "" for found in trouble).lower()
    transient = ""
    if not _FOR_GOOD.search(message):
        transient = next((name for name, pattern in _TRANSIENT.items() if pattern.search(message)), "")
    return Reading(columns, relations, types, bool(trouble), transient)


def _first(patterns: tuple[re.Pattern[str], ...], message: str) -> tuple[str, ...]:
    """What the first pattern that fits finds: a later, looser one would find the same again."""
    for pattern in patterns:
        found = tuple(dict.fromkeys(m["name"] for m in pattern.finditer(message)))
        if found:
            return found
    return ()


def redact(message: str) -> str:
    """The text without values from rows and without secrets, cut to a bearable length."""
    for pattern, replacement in _VALUES:
        message = pattern.sub(replacement, message)
    return mask(message)[:LONGEST]


def mentions(message: str, name: str) -> bool:
    """Does the text hold that name as a whole word?"""
    return re.search(rf"(?<![\w]){re.escape(name.lower())}(?![\w])", message.lower()) is not None
