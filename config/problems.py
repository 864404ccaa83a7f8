"""Turning what pydantic found into problems a reader can act on: where, what, and what was probably meant."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from config.catalogue import plain
from config.draft import Draft, KeyPath, dotted, nearest
from config.section import FlatSection, Section, entries_in, is_mapping, section_in

_QUOTED = re.compile(r"'([^']+)'")


def report(draft: Draft, model: type[Section], error: ValidationError) -> None:
    """Note every error of a validation as a problem of the draft, without the values."""
    details = error.errors(include_url=False)
    for detail in details:
        path: KeyPath = tuple(step for step in detail["loc"] if step != "[key]")
        follows = detail["type"] == "too_short" and any(path == d["loc"][: len(path)] != d["loc"] for d in details)
        if follows or draft.is_faulty(path):
            continue
        where = draft.where(path)
        if detail["type"] == "extra_forbidden":
            draft.complain(where, f"unknown key {dotted(path)!r}", _meant(model, path))
        elif detail["loc"][-1:] == ("[key]",):
            draft.complain(where, f"{dotted(path)}: a name holds letters, digits, dots, dashes and underscores alone")
        else:
            draft.complain(where, f"{dotted(written(model, path))}: {plain(detail['msg'])}", _choice(detail))


def written(model: type[Section], path: KeyPath) -> KeyPath:
    """The path as it is written in a file: the options of a flat part stand beside its other keys."""
    if len(path) > 3 and path[2] == "options":  # noqa: PLR2004 - section, name, options, option
        entry = entries_in(model.model_fields[str(path[0])].annotation)
        if entry is not None and issubclass(entry, FlatSection):
            return (*path[:2], *path[3:])
    return path


def part_at(model: type[Section], path: KeyPath) -> type[Section] | None:
    """The part of the configuration a path leads to."""
    annotation: Any = model
    for step in path:
        section = section_in(annotation)
        if section is not None:
            field = section.model_fields.get(str(step))
            annotation = field.annotation if field is not None else None
        else:
            annotation = entries_in(annotation)
    return section_in(annotation)


def _meant(model: type[Section], path: KeyPath) -> str:
    part = part_at(model, path[:-1])
    key = str(path[-1])
    if part is not None and (near := nearest(key, part.model_fields)):
        return near
    for name, field in model.model_fields.items():  # the right key in the wrong place
        section = section_in(field.annotation)
        if section is not None and key in section.model_fields:
            return f"{name}.{key}"
        if section is None and is_mapping(field.annotation) and len(path) == 1 and nearest(key, [name]):
            return name
    return ""


def _choice(detail: ErrorDetails) -> str:
    """Of the values a key may have the nearest to the one given."""
    if detail["type"] not in ("literal_error", "enum") or not isinstance(detail.get("input"), str):
        return ""
    return nearest(detail["input"], _QUOTED.findall(str(detail.get("ctx", {}).get("expected", ""))))
