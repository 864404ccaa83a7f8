"""Type names as the house writes them, whichever engine they come from: `INT4` and `int` are `integer`.

Length, precision, scale and time zone are kept. Where the same word means another thing in another engine, that
engine's meaning goes first (MySQL's `timestamp` has a time zone, SQL Server's is a row version); what is an engine's
own (unsigned, `tinyint(1)`, the values of an enumeration, nested types) stays in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

_WITHOUT, _WITH = "without time zone", "with time zone"

_COMMON: Final[Mapping[str, str]] = {
    "int": "integer", "int4": "integer", "signed": "integer", "serial": "integer", "serial4": "integer",
    "int2": "smallint", "serial2": "smallint", "smallserial": "smallint",
    "int8": "bigint", "int64": "bigint", "long long": "bigint", "serial8": "bigint", "bigserial": "bigint",
    "bool": "boolean",
    "float4": "real", "float8": "double precision", "double": "double precision",
    "double_precision": "double precision",
    "float64": "double precision", "float32": "real", "float": "double precision", "binary_double": "double precision",
    "binary_float": "real",
    "dec": "numeric", "decimal": "numeric", "fixed": "numeric", "number": "numeric", "bigdecimal": "bignumeric",
    "varchar": "character varying", "varchar2": "character varying", "char varying": "character varying",
    "char": "character", "bpchar": "character",
    "national varchar": "nvarchar", "national character varying": "nvarchar", "national char varying": "nvarchar",
    "national character": "nchar", "national char": "nchar", "native character": "nchar",
    "datetime": f"timestamp {_WITHOUT}", "datetime2": f"timestamp {_WITHOUT}", "timestamp": f"timestamp {_WITHOUT}",
    "timestamp_ntz": f"timestamp {_WITHOUT}", "timestampntz": f"timestamp {_WITHOUT}",
    "timestamptz": f"timestamp {_WITH}", "timestamp_tz": f"timestamp {_WITH}", "datetimeoffset": f"timestamp {_WITH}",
    "timestamp_ltz": "timestamp with local time zone", "timestampltz": "timestamp with local time zone",
    "time": f"time {_WITHOUT}", "timetz": f"time {_WITH}",
    "uniqueidentifier": "uuid", "character large object": "clob", "binary large object": "blob",
    "binary varying": "varbinary", "varbit": "bit varying",
}  # fmt: skip

_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    "mysql": {"timestamp": f"timestamp {_WITH}", "float": "real", "int1": "tinyint",
              "int3": "mediumint", "middleint": "mediumint", "long": "mediumtext", "long varchar": "mediumtext"},
    "bigquery": {"string": "text", "timestamp": f"timestamp {_WITH}"},
    "databricks": {"string": "text", "timestamp": f"timestamp {_WITH}", "float": "real", "long": "bigint",
                   "short": "smallint", "byte": "tinyint"},
    "mssql": {"bit": "boolean", "timestamp": "rowversion", "datetime": "datetime"},
    "oracle": {"date": f"timestamp(0) {_WITHOUT}", "float": "float", "integer": "numeric(38,0)",
               "int": "numeric(38,0)", "smallint": "numeric(38,0)"},
    "snowflake": {"string": "character varying", "text": "character varying", "int": "numeric", "integer": "numeric",
                  "bigint": "numeric", "smallint": "numeric", "tinyint": "numeric", "byteint": "numeric",
                  "real": "double precision", "float4": "double precision"},
}  # fmt: skip
_OWN_TEXT: Final = {("bigquery", "string"): "character varying"}
_MYSQL_WHOLE = frozenset({"tinyint", "smallint", "mediumint", "integer", "bigint"})
_NESTED = re.compile(r"[<\[]|^(?:array|map|row|struct|object|nested|tuple|enum|set|interval)\b", re.IGNORECASE)
_PARTS = re.compile(r"^(?P<word>[^\W\d][\w$. ]*)(?:\((?P<size>[^()]*)\)(?P<rest>[\w ]*))?$")
_TEXT_ATTRIBUTES = re.compile(
    r"\s+(?:character\s+set|charset|collate|encode)\s+(?:\"[^\"]*\"|'[^']*'|[\w.-]+)", re.IGNORECASE
)
_QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`)""")
_REAL_BITS = 24


@lru_cache(maxsize=4096)
def normalised(written: str, dialect: str = "") -> str:
    """A type's name as the house writes it; what is not known stays as written, in lower case."""
    text = " ".join(_TEXT_ATTRIBUTES.sub("", f" {written}").split())
    if _NESTED.search(text):
        return _lowered(text)
    parts = _PARTS.match(text)
    if parts is None:
        return _lowered(text)
    size = ",".join(s.strip().lower() for s in parts["size"].split(",")) if parts["size"] is not None else ""
    word, rest = parts["word"].lower().strip(), (parts["rest"] or "").lower().strip()
    word, rest = _split(word, rest)
    if dialect in ("mysql", "mariadb") and rest not in (_WITH, _WITHOUT):
        return _of_mysql(word, size, rest)
    name = _named(word, size, dialect)
    if word == "float" and name == "double precision" and size.isdigit():
        return "real" if int(size) <= _REAL_BITS else name
    if size.endswith(" char"):
        size = size.removesuffix(" char")
    if rest in ("varying", "large object"):
        name, rest = _COMMON.get(f"{word} {rest}", f"{name} {rest}"), ""
    if rest in (_WITH, _WITHOUT, "with local time zone"):
        name, rest = f"{word} {rest}", ""
    return _joined(name, size, rest)


def _split(word: str, rest: str) -> tuple[str, str]:
    """Words behind the name that say more about it, whether a size stood between or not."""
    for tail in ("unsigned zerofill", "unsigned", "zerofill", _WITH, _WITHOUT, "with local time zone", "identity"):
        if word.endswith(f" {tail}"):
            return word.removesuffix(f" {tail}"), f"{tail} {rest}".strip()
    return word, rest


def _named(word: str, size: str, dialect: str) -> str:
    own = _OWN.get(dialect, {})
    if size and (dialect, word) in _OWN_TEXT:
        return _OWN_TEXT[dialect, word]
    return own.get(word) or _COMMON.get(word, word)


def _joined(name: str, size: str, rest: str) -> str:
    """The size stands behind the first word of a time, behind the whole name of anything else."""
    if size:
        first, _, more = name.partition(" ")
        timed = first in ("timestamp", "time")
        name = f"{first}({size}) {more}".strip() if timed else name if "(" in name else f"{name}({size})"
    return f"{name} {rest}".strip()


def _of_mysql(word: str, size: str, rest: str) -> str:
    """A display width says nothing, but `tinyint(1)` is how a boolean is written, and zerofill shows the width."""
    name = _named(word, size, "mysql")
    if word in ("bool", "boolean"):
        return "tinyint(1)"
    if name in _MYSQL_WHOLE and "zerofill" not in rest and (name, size) != ("tinyint", "1"):
        size = ""
    if name == "year":
        size = ""
    if size and name in ("real", "double precision"):
        name = word
    return _joined(name, size, rest)


def _lowered(text: str) -> str:
    """In lower case, what stands in quotes apart."""
    return "".join(p if i % 2 else p.lower() for i, p in enumerate(_QUOTED.split(text)))
