"""A comparison as a comment on a pull request. Names come from others: nothing in them is markup here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from agents.structure.impact import Impact
from agents.structure.meaning import Effect
from dataswarm.drifting.comparing import Comparison, TableChanges, Weighed
from dataswarm.drifting.describing import sentence

MARKER: Final = "<!-- dataswarm:drift -->"
"""The first line of each comment, by which a later one finds and replaces it."""

LONGEST: Final = 60_000
"""Characters; the hosts of pull requests refuse longer comments (65,536)."""

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~])")
_WORDS: Final = {
    Effect.DATA_LOSS: "data loss",
    Effect.BREAKING: "breaking",
    Effect.RISKY: "risky",
    Effect.COMPATIBLE: "compatible",
}
_FEW = 10


def escaped(text: str) -> str:
    """Any text as plain words of markdown: no markup, no HTML, no mention, no link, on one line."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    html = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marked = _SPECIAL.sub(r"\\\1", html)
    # A zero-width character breaks what hosts make links of: @somebody, #12, https:…
    return marked.replace("@", "@\u2060").replace("\\#", "\\#\u2060").replace("://", ":\u2060//")


def comment(found: Comparison, *, fail_on: str) -> str:
    """The whole comment: a marker, a summary line, a table of changes, details that fold."""
    lines = [MARKER, f"### Schema changes: {_summary(found)}", ""]
    lines += [f"`{_code(found.before.given)}` → `{_code(found.after.given)}`", ""]
    if found.not_visible:
        lines += [f"Not visible to the role, and not compared: {_listed(found.not_visible)}", ""]
    if found.tables:
        lines += ["| table | change | readers | writers | reaches |", "|---|---|---|---|---|"]
        lines += [_row(table, weighed) for table in found.tables for weighed in table.changes]
        lines += [""]
    verdict = "fails" if found.fails(fail_on) else "passes"
    lines.append(f"This check **{verdict}** (it fails on {fail_on.replace('_', ' ')}).")
    if not found.has_lineage and found.tables:
        lines.append("Who reads these tables is not known: no lineage was given.")
    details = [line for table in found.tables for line in _details(table)]
    return _fitted(lines, details)


def _summary(found: Comparison) -> str:
    if not found.changes:
        return "none"
    counts = [(effect, sum(w.worst is effect for w in found.changes)) for effect in reversed(Effect)]
    said = ", ".join(f"{number} {_WORDS[effect]}" for effect, number in counts if number)
    return f"{said} in {len(found.tables)} table{'s' if len(found.tables) != 1 else ''}"


def _row(table: TableChanges, weighed: Weighed) -> str:
    change, meant = weighed.change, weighed.meaning
    cells = (
        escaped(table.table),
        escaped(sentence(change.kind, change.column, change.payload)),
        _effect(meant.readers),
        _effect(meant.writers),
        _reach(weighed.impact),
    )
    return "| " + " | ".join(cells) + " |"


def _effect(effect: Effect) -> str:
    words = _WORDS[effect]
    return f"**{words}**" if effect.rank >= Effect.BREAKING.rank else words


def _reach(impact: Impact | None) -> str:
    if impact is None:
        return "unknown"
    if not impact.is_used:
        return "nobody" if impact.is_whole else "unknown"
    parts = [
        f"{len(names)} {word}{'s' if len(names) != 1 else ''}"
        for word, names in (
            ("model", impact.models),
            ("view", impact.views),
            ("exposure", impact.exposures),
            ("test", impact.tests),
        )
        if names
    ]
    return ", ".join(parts) or f"{len(impact.columns)} columns"


def _details(table: TableChanges) -> list[str]:
    lines = ["", f"<details><summary>{escaped(table.table)}</summary>", ""]
    for weighed in table.changes:
        change, meant = weighed.change, weighed.meaning
        lines.append(f"- {escaped(sentence(change.kind, change.column, change.payload))} (`{_code(meant.rule)}`)")
        if meant.why:
            lines.append(f"  - {escaped(meant.why)}")
        if weighed.impact is not None and (weighed.impact.is_used or weighed.impact.following):
            lines += [
                f"  - {word}: {_listed(names)}"
                for word, names in (
                    ("models", weighed.impact.models),
                    ("views", weighed.impact.views),
                    ("columns", weighed.impact.columns),
                    ("exposures", weighed.impact.exposures),
                    ("tests", weighed.impact.tests),
                    ("owners", weighed.impact.owners),
                    ("goes on, by the new name", weighed.impact.following),
                )
                if names
            ]
    return [*lines, "", "</details>"]


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _FEW} more" if len(every) > _FEW else ""
    return ", ".join(escaped(name) for name in every[:_FEW]) + more


def _code(text: str) -> str:
    """Text between backticks: without any of its own."""
    return " ".join("".join(c if c.isprintable() and c != "`" else " " for c in text).split())


def _fitted(lines: list[str], details: list[str]) -> str:
    """Details go first where it grows too long, then rows."""
    text = "\n".join([*lines, *details]) + "\n"
    if len(text) <= LONGEST:
        return text
    kept: list[str] = []
    length = 0
    for line in lines:
        length += len(line) + 1
        if length > LONGEST - 200:
            break
        kept.append(line)
    return "\n".join([*kept, "", "Too long for a comment: `dataswarm drift diff` shows the rest."]) + "\n"
