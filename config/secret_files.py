"""Secrets that live in files: `url_file` beside `url`, and a directory with files such as `database__url`.

Files are what containers and service managers hand secrets over in; unlike variables they are not inherited by
every child process. A relative path is relative to the configuration file that names it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from config.catalogue import Catalogue
from config.draft import Draft, KeyPath, dotted
from config.masking import Veiled, may_hold_secret
from config.problems import written
from config.section import FlatSection, Section, entries_in, is_mapping, is_sequence, secrets_of, section_in

SUFFIX = "_file"
LARGEST = 64 * 1024


def resolve(draft: Draft, model: type[Section], catalogue: Catalogue, base: pathlib.Path) -> None:
    """Replace every `x_file` beside a secret `x` by what the file holds; the file wins over an `x` written there."""
    for path, mapping, secrets in list(_holders(model, draft.data, (), catalogue)):
        draft.secrets.update(text for name in secrets for text in _texts(mapping.get(name)))
        for name in [key for key in mapping if key.endswith(SUFFIX) and key.removesuffix(SUFFIX) in secrets]:
            where = draft.where((*path, name))
            file = mapping.pop(name)
            shown = dotted(written(model, (*path, name)))
            draft.origins.pop((*path, name), None)
            if not isinstance(file, str):
                draft.faulty.add((*path, name.removesuffix(SUFFIX)))
                draft.complain(where, f"{shown} should be the path of a file")
                continue
            value = content(draft, base / pathlib.Path(file).expanduser(), where, shown)
            if value is None:
                draft.faulty.add((*path, name.removesuffix(SUFFIX)))
            else:
                mapping[name.removesuffix(SUFFIX)] = value
                draft.origins[*path, name.removesuffix(SUFFIX)] = where


def content(draft: Draft, file: pathlib.Path, where: str, what: str) -> str | None:
    """What a secret file holds, without the line break at its end; a problem and None where it cannot be had."""
    try:
        if not file.is_file():
            draft.complain(where, f"{what}: there is no such file")
            return None
        if file.stat().st_size > LARGEST:
            draft.complain(where, f"{what}: the file is larger than {LARGEST // 1024} KiB, which no secret is")
            return None
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        draft.complain(where, f"{what}: the file is not UTF-8 text")
        return None
    except OSError as error:
        draft.complain(where, f"{what}: the file cannot be read ({error.strerror})")
        return None
    value = text.rstrip("\r\n")
    if not value:
        draft.complain(where, f"{what}: the file is empty")
        return None
    draft.secrets.add(value)
    return Veiled(value)


def listed(draft: Draft, directory: str) -> Iterator[tuple[str, pathlib.Path]]:
    """Names and paths of the files in the secrets directory; hidden ones are how mounts swap their content."""
    folder = pathlib.Path(directory).expanduser()
    try:
        files = sorted(f for f in folder.iterdir() if not f.name.startswith(".") and f.is_file())
    except OSError as error:
        draft.complain("DATASWARM_SECRETS_DIR", f"the directory cannot be read ({error.strerror})")
        return
    yield from ((file.name, file) for file in files)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _holders(
    annotation: Any, data: Any, path: KeyPath, catalogue: Catalogue
) -> Iterator[tuple[KeyPath, dict[str, Any], set[str]]]:
    """Every mapping in the draft that may hold secrets, with the names of those."""
    if (model := section_in(annotation)) is not None and isinstance(data, dict):
        yield path, data, set(secrets_of(model))
        for name, field in model.model_fields.items():
            if name in data:
                yield from _holders(field.annotation, data[name], (*path, name), catalogue)
        options = data.get("options")
        if "options" in model.model_fields and isinstance(options, dict):
            kind = data.get("kind") if issubclass(model, FlatSection) else path[-1]
            known = catalogue.option_names(str(path[0]), str(kind))
            yield (
                (*path, "options"),
                options,
                {
                    secret
                    for key in options
                    if key not in known and may_hold_secret(secret := str(key).removesuffix(SUFFIX))
                },
            )
    elif (entry := entries_in(annotation)) is not None:
        if is_mapping(annotation) and isinstance(data, dict):
            for name, inner in data.items():
                yield from _holders(entry, inner, (*path, name), catalogue)
        elif is_sequence(annotation) and isinstance(data, list):
            for index, inner in enumerate(data):
                yield from _holders(entry, inner, (*path, index), catalogue)
