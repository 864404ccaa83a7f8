"""Jinja in model text, replaced by placeholders of the same length so that positions stay true."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agents.editing.names import Unclear

_REGION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_LITERAL = r"(?:'([^']*)'|\"([^\"]*)\")"
_SOURCE = re.compile(rf"source\(\s*{_LITERAL}\s*,\s*{_LITERAL}\s*,?\s*\)")
_REF = re.compile(rf"ref\(\s*{_LITERAL}\s*(?:,\s*{_LITERAL}\s*)?(?:,\s*v(?:ersion)?\s*=\s*[\w'\"]+\s*)?\)")
_CONFIG = re.compile(r"config\(.*\)", re.DOTALL)
_HEDGED = re.compile(r"\{%-?\s*(raw|macro|call|filter|import|from|include)\b")


class Kind(StrEnum):
    """What a piece of Jinja stands for in the SQL."""

    SOURCE = "source"
    REF = "ref"
    THIS = "this"
    OPAQUE = "opaque"  # an expression whose text only dbt knows
    SILENT = "silent"  # nothing: config, blocks, comments


@dataclass(frozen=True, slots=True)
class Region:
    """One piece of Jinja: where it stands, what it is; `name` holds the arguments of a source or ref."""

    start: int
    end: int
    text: str
    kind: Kind
    name: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Masked:
    """Text of the same length without Jinja, and what each placeholder stands for."""

    text: str
    placeholders: Mapping[str, Region]
    regions: tuple[Region, ...]

    def mentions(self, words: Collection[str]) -> str:
        """The first of `words` that Jinja could put into the SQL; empty where none."""
        for region in self.regions:
            is_harmless = (
                region.kind in (Kind.SOURCE, Kind.REF, Kind.THIS)
                or region.text.startswith("{#")
                # A config names the model's own output, which keeps its names; a hook is SQL.
                or (_CONFIG.search(region.text) is not None and "hook" not in region.text)
            )
            for word in () if is_harmless else words:
                if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", region.text, re.IGNORECASE):
                    return word
        return ""


def mask(text: str) -> Masked:
    """Replace Jinja; raises Unclear where its blocks can make SQL of their own."""
    if hedged := _HEDGED.search(text):
        raise Unclear(f"the model uses a Jinja {{% {hedged[1]} %}} block")
    regions: list[Region] = []
    placeholders: dict[str, Region] = {}
    pieces: list[str] = []
    at = 0
    for match in _REGION.finditer(text):
        region = _read(match)
        regions.append(region)
        length = region.end - region.start
        if region.kind is Kind.SILENT:
            stand_in = re.sub(r"[^\n]", " ", region.text)
        else:
            stand_in = f"z{len(placeholders):x}_".ljust(length, "_")
            if len(stand_in) != length or stand_in in text:
                raise Unclear("the model's Jinja cannot be masked")
            placeholders[stand_in] = region
        pieces += [text[at : region.start], stand_in]
        at = region.end
    pieces.append(text[at:])
    masked = "".join(pieces)
    if any(mark in masked for mark in ("{{", "{%", "{#", "%}", "}}", "#}")):
        raise Unclear("the model's Jinja is not closed, or nested")
    return Masked(masked, placeholders, tuple(regions))


def _read(match: re.Match[str]) -> Region:
    text = match[0]
    start, end = match.span()
    if not text.startswith("{{"):
        return Region(start, end, text, Kind.SILENT)
    inside = text[2:-2].strip("-+ \t\r\n")
    if found := _SOURCE.fullmatch(inside):
        return Region(start, end, text, Kind.SOURCE, (found[1] or found[2] or "", found[3] or found[4] or ""))
    if found := _REF.fullmatch(inside):
        names = tuple(group for group in found.groups() if group)
        return Region(start, end, text, Kind.REF, names)
    if inside == "this":
        return Region(start, end, text, Kind.THIS)
    if _CONFIG.fullmatch(inside):
        return Region(start, end, text, Kind.SILENT)
    return Region(start, end, text, Kind.OPAQUE)
