"""Configuration from environment variables and secret files' names: `DATASWARM_DATABASE__URL`, `database__url`.

Segments between double underscores are keys, in any case; a single underscore stands for a dash where the dashed
name is known. Lists are written as JSON or separated by commas. An empty variable is as good as none. A variable
with our prefix that names nothing is an error: a misspelt one would otherwise be ignored without a word.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from config.catalogue import Catalogue
from config.draft import Draft, KeyPath, match, nearest
from config.masking import Veiled
from config.secret_files import SUFFIX, content, listed, resolve
from config.section import FlatSection, Section, entries_in, is_mapping, is_secret, is_sequence, secrets_of, section_in

PREFIX = "DATASWARM_"
RESERVED = frozenset({"DATASWARM_CONFIG", "DATASWARM_SECRETS_DIR"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name points to, or why it points nowhere."""

    path: KeyPath = ()
    annotation: Any = None
    trouble: str = ""
    suggestion: str = ""


def overlay_secrets(draft: Draft, model: type[Section], catalogue: Catalogue, directory: str) -> None:
    """Lay the files of the secrets directory over the draft; files whose name has no `__` are somebody else's."""
    for name, file in listed(draft, directory):
        segments = name.lower().split("__")
        if len(segments) < 2:  # noqa: PLR2004 - a section and a key
            continue
        where = f"$DATASWARM_SECRETS_DIR/{name}"
        place = locate(model, segments, draft, catalogue)
        if place.trouble:
            draft.complain(where, place.trouble, _joined(place.suggestion).lower())
        elif (value := content(draft, file, where, name)) is not None:
            draft.put(place.path, value, where)


def overlay_environment(draft: Draft, model: type[Section], catalogue: Catalogue, environ: Mapping[str, str]) -> None:
    """Lay the variables over the draft; those ending in `_FILE` first, so that a value given outright wins."""
    ours = {k: v for k, v in environ.items() if k.upper().startswith(PREFIX) and k.upper() not in RESERVED and v}
    for name in sorted(ours, key=lambda n: (not n.upper().endswith(SUFFIX.upper()), n)):
        segments = name[len(PREFIX) :].lower().split("__")
        place = locate(model, segments, draft, catalogue)
        if not place.trouble:
            draft.put(place.path, _value(draft, ours[name], place.annotation, name), name)
            if str(place.path[-1]).endswith(SUFFIX):
                resolve(draft, model, catalogue, pathlib.Path())
        elif name not in draft.referenced:  # one that the file refers to as ${…} is known, whatever its name
            draft.complain(name, place.trouble, _joined(place.suggestion, PREFIX))


def locate(model: type[Section], segments: list[str], draft: Draft, catalogue: Catalogue) -> Place:
    """Find the path that segments such as `["agents", "schema_drift", "enabled"]` stand for."""
    place = Place((), model)
    for depth, segment in enumerate(segments):
        place = _step(place, segment, draft, catalogue)
        if place.trouble:
            if len(segments) == 1:  # one underscore where there should be two
                return replace(place, suggestion=nearest(segment, _leaves(model)))
            near = place.suggestion
            return replace(
                place, suggestion="__".join([*segments[:depth], near, *segments[depth + 1 :]]) if near else ""
            )
    if section_in(place.annotation) is not None or _has_members(place.annotation):
        return Place(trouble="names a whole section, not a value: add __ and a key")
    return place


def _step(at: Place, segment: str, draft: Draft, catalogue: Catalogue) -> Place:
    """One key further; a suggestion is for this segment alone."""
    if (section := section_in(at.annotation)) is not None:
        secret_files = [secret + SUFFIX for secret in secrets_of(section)]
        if segment in section.model_fields:
            return Place((*at.path, segment), section.model_fields[segment].annotation)
        if segment in secret_files:
            return Place((*at.path, segment), Any)
        if not issubclass(section, FlatSection) or not segment:
            return Place(
                trouble="unknown variable", suggestion=nearest(segment, [*section.model_fields, *secret_files])
            )
        at = Place((*at.path, "options"), dict[str, Any])
    if _has_members(at.annotation):
        return _member(at, segment, draft, catalogue)
    if is_mapping(at.annotation) or at.annotation is Any:
        return _option(at, segment, draft, catalogue)
    return Place(trouble="unknown variable: there is nothing inside this key")


def _member(at: Place, segment: str, draft: Draft, catalogue: Catalogue) -> Place:
    """A named agent, source, playbook or channel; sources and channels may be made by variables alone."""
    section = str(at.path[0])
    installed = () if section in ("sources", "channels") else catalogue.of(section)
    known = [*_keys(draft.at(at.path)), *installed]
    found = match(segment, known)
    if not found and installed:
        trouble = f"unknown variable: none of the {section} is called so"
        return Place(trouble=trouble, suggestion=nearest(segment, known))
    return _one(at.path, found or [segment], entries_in(at.annotation))


def _option(at: Place, segment: str, draft: Draft, catalogue: Catalogue) -> Place:
    """A free-form option, as it is written in the file or known to the validator, else in lower case."""
    section, name = str(at.path[0]), str(at.path[1])
    entry = draft.at(at.path[:2])
    kind = str(entry.get("kind", name)) if isinstance(entry, dict) else name
    known = catalogue.option_names(section, kind) if at.path[2:] == ("options",) else ()
    return _one(at.path, match(segment, [*_keys(draft.at(at.path)), *known]) or [segment], Any)


def _one(path: KeyPath, found: list[str], annotation: Any) -> Place:
    if len(found) > 1:
        return Place(trouble=f"may mean {' or '.join(found)}: set it in the file")
    return Place((*path, found[0]), annotation)


def _has_members(annotation: Any) -> bool:
    return is_mapping(annotation) and entries_in(annotation) is not None


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _leaves(model: type[Section]) -> list[str]:
    """What may follow our prefix, two keys deep."""
    parts = [(name, section_in(field.annotation)) for name, field in model.model_fields.items()]
    return [f"{name}__{key}" for name, part in parts if part is not None for key in part.model_fields]


def _value(draft: Draft, text: str, annotation: Any, name: str) -> Any:
    """A variable's text as what its key holds."""
    if is_secret(annotation):
        draft.secrets.add(text)
        return Veiled(text)
    if annotation is Any or is_mapping(annotation) or is_sequence(annotation):
        if text.lstrip()[:1] in ("[", "{"):
            try:
                return json.loads(text)
            except ValueError:
                if annotation is not Any:
                    draft.complain(name, "is not valid JSON")
                    return [] if is_sequence(annotation) else {}
        if is_sequence(annotation) and entries_in(annotation) is None:
            return [part.strip() for part in text.split(",")]
    if annotation is Any:
        # A free-form option may well be a secret; no model says so here.
        draft.secrets.add(text)
        return Veiled(text)
    return text


def _joined(suggestion: str, prefix: str = "") -> str:
    return prefix + suggestion.upper().replace("-", "_") if suggestion else ""
