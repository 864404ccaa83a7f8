"""Words of other dialects that say where and how rows are stored: taken out of a statement that the parser cannot read.

Only what is known to say nothing of the structure goes; what then still cannot be read is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from sqlglot.tokenizer_core import TokenType

from integrations.declared.statements import Statement

_GROUP: Final = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_NAME: Final = r"(?:\w+|\[[^\]]*\]|\"[^\"]*\"|`[^`]*`)"
_BEHIND: Final = r"(?<=[^\s(,])\s+"  # never the first word of an element: that is its name

_ATTRIBUTES: Final[Mapping[str, Sequence[str]]] = {
    "redshift": (
        r"encode\s+\w+\b",
        r"(?:compound\s+|interleaved\s+)?sortkey\s*" + _GROUP,
        r"sortkey\s+auto\b",
        r"distkey\s*" + _GROUP,
        r"(?:distkey|sortkey)\b",
        r"diststyle\s+\w+\b",
        r"backup\s+(?:yes|no)\b",
    ),
    "oracle": (
        rf"using\s+index(?:\s+tablespace\s+{_NAME})?",
        r"(?:enable|disable)\s+row\s+movement\b",
        r"(?:enable|disable)(?:\s+(?:no)?validate)?\b",
        r"(?:no)?rely\b",
        r"(?:in)?visible\b",
        r"encrypt(?:\s+using\s+'[^']*')?",
        r"virtual\b",
        rf"lob\s*{_GROUP}\s*store\s+as(?:\s+(?:securefile|basicfile))?(?:\s+(?!lob\b){_NAME})?\s*(?:{_GROUP})?",
        rf"storage\s*{_GROUP}",
        rf"tablespace\s+{_NAME}",
        r"(?:pctfree|pctused|initrans|maxtrans)\s+\d+",
        r"(?:nologging|logging|nocompress|nocache|cache|noparallel|nomonitoring|monitoring)\b",
        r"compress(?:\s+(?:basic|for\s+\w+(?:\s+\w+)?))?\b",
        r"parallel(?:\s+\d+)?",
        r"segment\s+creation\s+(?:immediate|deferred)\b",
        r"organization\s+heap\b",
        r"(?:online|reverse)\b",
        r"build\s+(?:immediate|deferred)\b",
        r"refresh\s+(?:fast|complete|force)(?:\s+on\s+(?:commit|demand))?\b",
        r"with\s+(?:read\s+only|check\s+option)\b",
        rf"partition\s+by\s+(?:range|list|hash)\s*{_GROUP}(?:\s*interval\s*{_GROUP})?(?:\s*partitions\s+\d+)?(?:\s*{_GROUP})?",
    ),
    "tsql": (
        rf"(?:textimage_on|filestream_on)\s+{_NAME}",
        r"on\s+(?:\[[^\]]*\]|\"[^\"]*\"|primary\b)",
        r"masked\s+with\s*" + _GROUP,
        r"with\s*\(\s*(?!nolock)[^()]*(?:" + _GROUP + r"[^()]*)*\)",
        r"(?:sparse|rowguidcol|persisted|clustered|nonclustered)\b",
        r"not\s+for\s+replication\b",
    ),
    "snowflake": (
        r"(?:with\s+)?masking\s+policy\s+[\w.]+(?:\s+using\s*" + _GROUP + r")?",
        r"(?:with\s+)?tag\s*" + _GROUP,
    ),
    "clickhouse": (r"codec\s*" + _GROUP,),
}
_PARTITIONED: Final = re.compile(
    rf"\bpartition\s+by\s+((?:range|list|hash|key|linear\s+hash|linear\s+key)(?:\s+columns)?\s*{_GROUP})", re.IGNORECASE
)


def masked(said: Statement) -> str:
    """The statement with all that stands in quotes or comments blotted out, sign for sign."""
    start = said.tokens[0].start if said.tokens else 0
    signs = [" "] * len(said.text)
    for token in said.tokens:
        low, high = token.start - start, token.end + 1 - start
        if high > len(signs):
            return said.text  # a command the tokenizer packed: its words' places are counted from elsewhere
        part = said.text[low:high]
        if token.token_type in (TokenType.STRING, TokenType.NATIONAL_STRING, TokenType.IDENTIFIER):
            part = part[0] + "x" * (len(part) - 2) + part[-1:] if len(part) > 1 else part
        signs[low:high] = part
    return "".join(signs)


def without_attributes(said: Statement, dialect: str) -> str:
    """The statement's text without them."""
    text, mask = said.text, masked(said)
    for pattern in _ATTRIBUTES.get(dialect, ()):
        place = re.compile(_BEHIND + f"(?:{pattern})", re.IGNORECASE)
        while (found := place.search(mask)) is not None:
            text = text[: found.start()] + " " + text[found.end() :]
            mask = mask[: found.start()] + " " + mask[found.end() :]
    return text


def partitioning(said: Statement) -> str:
    """How a table is split, of a statement from which the parser did not take it; empty where it is not."""
    found = _PARTITIONED.search(masked(said))
    return " ".join(said.text[found.start(1) : found.end(1)].split()) if found is not None else ""
