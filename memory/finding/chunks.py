"""Texts cut into pieces that can be found: by headings, by paragraphs, by turns of a conversation.

A piece is called by its heading, so that a change in one section leaves the names of all others as they are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST = 6000  # characters of a piece: what a reader takes in at once, and an embedding model takes at all
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_ENTRY = re.compile(r"^([A-Za-z][A-Za-z0-9_-]*):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_SAID_BY = frozenset({"user", "human", "assistant"})
_LEFT_OUT = frozenset({"system", "tool", "tool_use", "tool_result", "function", "developer"})
_PARTS = {"user-prompt": "user", "text": "assistant"}


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text. `heading` is its path of headings, unique within the text; empty for what comes first."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a session log holds.

    Attributes:
        chunks: what was said, a piece for each turn that a person began.
        left_out: lines of known kinds that are no speech: tools and what they gave, which may quote rows.
        unknown: lines of kinds that nobody here knows, counted by kind.
        broken: lines that are no JSON object.
    """

    chunks: tuple[Chunk, ...]
    left_out: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)
    broken: int = 0


def front_matter(text: str) -> tuple[dict[str, str], str]:
    """The simple `key: value` lines a markdown file may begin with, and the text without them."""
    found = _FRONT.match(text)
    if found is None:
        return {}, text
    return {key.lower(): value.strip("\"'") for key, value in _ENTRY.findall(found[1])}, text[found.end() :]


def markdown(text: str) -> list[Chunk]:
    """Pieces by headings; what looks like a heading inside a block of code is none."""
    path: list[tuple[int, str]] = []
    sections: list[tuple[str, list[str]]] = [("", [])]
    fence = ""
    for line in _lines(text):
        mark = _FENCE.match(line)
        if mark is not None and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        heading = None if fence else _HEADING.match(line)
        if heading is None:
            sections[-1][1].append(line)
            continue
        level = len(heading[1])
        path = [*(above for above in path if above[0] < level), (level, heading[2])]
        sections.append((" / ".join(title for _, title in path), []))
    return _named((heading, "\n".join(lines).strip()) for heading, lines in sections)


def plain(text: str) -> list[Chunk]:
    """Pieces of a text without headings."""
    return _named([("", text.strip())])


def _named(sections: Iterable[tuple[str, str]]) -> list[Chunk]:
    """Pieces under names of their own: a heading that comes twice, or is cut, is numbered."""
    taken: Counter[str] = Counter()
    found = []
    for heading, text in sections:
        if not text and not heading:
            continue
        for piece in _cut(text) or [""]:
            taken[heading] += 1
            number = taken[heading]
            found.append(Chunk(heading if number == 1 else f"{heading} ({number})".strip(), piece))
    return found


def _lines(text: str) -> list[str]:
    """Lines as editors and JSON know them: within one, a string may hold what Unicode calls a separator."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _cut(text: str) -> list[str]:
    """A long text in pieces that end with a paragraph, else with a line, else anywhere."""
    pieces, start = [], 0
    while len(text) - start > LONGEST:
        first, end = start + 1, start + LONGEST
        place = max(text.rfind("\n\n", first, end), 0) or max(text.rfind("\n", first, end), 0) or end
        pieces.append(text[start:place].strip())
        start = place
        while text[start : start + 1] == "\n":
            start += 1
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


def conversation(text: str) -> Conversation:
    """The speech in an agent's session log, one JSON object a line."""
    turns: list[list[str]] = []
    unknown: Counter[str] = Counter()
    left_out = broken = 0
    for line in _lines(text):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            broken += 1
            continue
        said = list(_speech(entry))
        if not said:
            kind = _kind(entry)
            if kind in _LEFT_OUT | _SAID_BY | {"message", "request", "response"}:
                left_out += 1
            else:
                unknown[kind] += 1
        for who, words in said:
            if who == "user" or not turns:
                turns.append([])
            turns[-1].append(f"{who}: {words}")
    chunks = _named((f"turn {number}", "\n\n".join(turn)) for number, turn in enumerate(turns, 1))
    return Conversation(tuple(chunks), left_out, dict(unknown), broken)


def _kind(entry: Mapping[str, Any]) -> str:
    kind = next((entry[name] for name in ("type", "role", "kind") if isinstance(entry.get(name), str)), "")
    return re.sub(r"[^\w.:-]", "?", str(kind))[:60] or "without a type"


def _speech(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who said what: lines of `role` and `content`, wrapped in `message` or not, of `parts`, and summaries."""
    if isinstance(entry.get("parts"), list) and entry.get("kind") in ("request", "response"):
        for part in entry["parts"]:
            who = _PARTS.get(str(part.get("part_kind"))) if isinstance(part, dict) else None
            if who and (words := _words(part.get("content"))):
                yield who, words
        return
    if entry.get("type") == "summary" and (words := _words(entry.get("summary"))):
        yield "summary", words
        return
    message = entry["message"] if isinstance(entry.get("message"), dict) else entry
    who = str(message.get("role") or entry.get("type"))
    if who in _SAID_BY and (words := _words(message.get("content"))):
        yield "assistant" if who == "assistant" else "user", words


def _words(content: object) -> str:
    """The text of a message: as it is, or out of its blocks of text."""
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list):
        texts = [b if isinstance(b, str) else b.get("text") for b in content if isinstance(b, str) or _is_text(b)]
        return "\n".join(text for text in texts if isinstance(text, str)).strip()
    return ""


def _is_text(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "text"
