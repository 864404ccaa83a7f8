"""What somebody means by one side of a comparison: a source, a saved state of it, DDL, a manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from agents.structure.known import Structure, is_skipped, structure_of
from agents.structure.parts import TABLE, from_parts
from config.draft import nearest
from config.errors import UsageError
from config.settings import Settings
from dataswarm.drifting.engines import Engines, Loaded
from dataswarm.drifting.scripts import SUFFIXES, Script, scripts
from dataswarm.drifting.sides import ALL, MANIFEST, SAVED, SCRATCH, Side
from integrations.base import Catalog, Structured
from integrations.declared import catalog_of_manifest, load_manifest, read_scripts
from integrations.declared.draft import counted
from integrations.registry import Registry, discover
from memory.board import baselines
from memory.connection.database import Transaction
from memory.records import Baseline

WATCHER: Final = "schema-drift"
"""The agent whose baselines are the saved states."""

ENGINE_DIALECTS: Final[Mapping[str, str]] = {"postgres": "postgres", "duckdb": "duckdb", "clickhouse": "clickhouse"}
_HOW: Final = "a side is a source, SOURCE@REVISION, a .sql or .ddl file, a folder of them, or a dbt manifest"


@dataclass(frozen=True, slots=True)
class Meant:
    """What a side names: `kind` as in `Side`, with the path, or the source and perhaps its revision."""

    given: str
    kind: str
    path: Path = field(default_factory=Path)
    source: str = ""
    revision: str = ""

    @property
    def is_file(self) -> bool:
        """Can it be read without a configuration?"""
        return self.kind in ("ddl", "manifest")


def meant(given: str, sources: Callable[[], Sequence[str]]) -> Meant:
    """What is meant; `sources` are the configured names, asked only where a name may be one of them.

    Raises:
        UsageError: nothing of that name; says the nearest.
    """
    path = Path(given).expanduser()
    if path.suffix.lower() == ".json":
        return Meant(given, "manifest", _there(path))
    if path.suffix.lower() in SUFFIXES:
        return Meant(given, "ddl", _there(path))
    if "/" in given or given in (".", ".."):
        return _folder(given, _there(path))
    name, at, revision = given.partition("@")
    names = sources()
    if name in names:
        return Meant(given, "snapshot" if at else "source", source=name, revision=revision)
    if path.is_dir():
        return _folder(given, path)
    near = nearest(name, names)
    known = f"configured are {', '.join(names)}" if names else "no source is configured"
    raise UsageError(f"there is no source {name!r}", hint=f"did you mean {near!r}?" if near else f"{known}; {_HOW}")


def _there(path: Path) -> Path:
    if not path.exists():
        raise UsageError(f"there is no file {path}", hint=_HOW)
    return path


def _folder(given: str, path: Path) -> Meant:
    has_manifest = any((path / place).is_file() for place in ("manifest.json", "target/manifest.json"))
    if path.is_file():
        raise UsageError(f"{path} is no DDL and no manifest, by its name", hint=_HOW)
    return Meant(given, "manifest" if has_manifest else "ddl", path)


def dialect_of(settings: Settings, source: str) -> str:
    """The dialect of a configured source, empty where its kind does not tell."""
    spec = settings.sources.get(source)
    if spec is None:
        return ""
    if spec.kind in ENGINE_DIALECTS:
        return ENGINE_DIALECTS[spec.kind]
    url = spec.options.get("url")
    text = url.get_secret_value() if isinstance(url, SecretStr) else str(url or "")
    return text.split(":", 1)[0].split("+", 1)[0] if spec.kind == "sql" else ""


async def live(settings: Settings, one: Meant, skip: Sequence[str]) -> Side:
    """A configured source as it is now.

    Raises:
        UsageError: it has no tables.
        SetupError, TransientError, SourceError: as the source says.
    """
    spec = settings.sources[one.source]
    catalog = await _looked_at(discover(), spec.kind, one.source, spec.options)
    return Side(one.given, "source", structure_of(catalog, skip), ALL, spec.kind, one.source, notes=_invisible(catalog))


async def _looked_at(registry: Registry, kind: str, name: str, options: Mapping[str, Any]) -> Catalog:
    door = registry.create(kind, name, options)
    if not isinstance(door, Structured):
        raise UsageError(f"{name} ({kind}) has no tables of its own", hint="for a pipeline give its manifest.json")
    try:
        await door.open()
        return await door.catalog()
    finally:
        await door.close()


def _invisible(catalog: Catalog) -> tuple[str, ...]:
    return tuple(f"the schema {name} is not visible to the role" for name in catalog.invisible)


async def snapshot(tx: Transaction, settings: Settings, one: Meant, skip: Sequence[str]) -> Side:
    """A source as the swarm knew it: at a revision, by its number or the name it was saved under; `@` alone is now.

    Raises:
        UsageError: there is no baseline yet, or no such revision.
    """
    revision = await revision_of(tx, one.source, one.revision)
    structure = _skipped(await known(tx, one.source, revision), skip)
    spec = settings.sources.get(one.source)
    return Side(one.given, "snapshot", structure, SAVED, spec.kind if spec else "", one.source, revision)


async def known(tx: Transaction, source: str, revision: int | None) -> Structure:
    """What the swarm knew of a source; what its columns held is left where it is.

    Raises:
        UsageError: no such revision is kept.
        SourceError: a part is misread.
    """
    if revision is None:
        parts = await baselines.parts(tx, WATCHER, source, prefix=TABLE)
        parts |= await baselines.parts(tx, WATCHER, source, names=("enumerations", "sequences"))
    else:
        parts = await baselines.parts(tx, WATCHER, source, revision)
    head = await baselines.get(tx, WATCHER, source)
    structure = await asyncio.to_thread(from_parts, parts)
    return replace(structure, invisible=tuple(head_of(head).get("invisible") or ()))


def head_of(found: Baseline | None) -> Mapping[str, Any]:
    """What the agent wrote down of the whole source, as the runtime keeps it; empty where there is nothing."""
    value = found.value if found is not None else None
    inner = value.get("value") if isinstance(value, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _skipped(structure: Structure, skip: Sequence[str]) -> Structure:
    tables = {p: t for p, t in structure.tables.items() if not is_skipped(p, skip)}
    return Structure(tables, structure.enumerations, structure.sequences, structure.invisible)


async def revision_of(tx: Transaction, source: str, said: str) -> int | None:
    """The number of a revision; None for the state of now.

    Raises:
        UsageError: there is no baseline yet, or no revision of that name.
    """
    if await baselines.get(tx, WATCHER, source) is None:
        raise no_baseline(source)
    if not said or said == "now":
        return None
    if said.isdigit():
        return int(said)
    found = await baselines.named(tx, WATCHER, source, said)
    if found is None:
        saved = [n for r in await baselines.revisions(tx, WATCHER, source, 200) for n in r.names]
        near = nearest(said, saved)
        listed = f"saved are {', '.join(saved)}" if saved else f"`dataswarm drift history {source}` lists revisions"
        raise UsageError(
            f"no state of {source} is saved as {said!r}", hint=f"did you mean {near!r}?" if near else listed
        )
    return found


def no_baseline(source: str) -> UsageError:
    """Nothing is known of a source yet."""
    return UsageError(f"there is no baseline of {source} yet", hint="`dataswarm up` takes one at its first look")


def manifest(one: Meant, skip: Sequence[str]) -> Side:
    """What a dbt project declares: every relation with a column that is written down.

    Raises:
        UsageError, SourceError: it is not a manifest.
    """
    found, beside = load_manifest(one.path)
    structure = structure_of(catalog_of_manifest(found, beside), skip)
    adapter = str(found["metadata"].get("adapter_type") or "")
    return Side(one.given, "manifest", structure, MANIFEST, f"manifest:{adapter}", is_whole=False)


async def ddl(engines: Engines, one: Meant, dialect: str, default_schema: str, skip: Sequence[str]) -> Side:
    """What DDL declares: loaded into the engine where there is one here, else read.

    Raises:
        UsageError: a statement is refused or cannot be read; names the file, its number and the line.
    """
    found = scripts(one.path)
    registry = discover()
    loaded = None
    if not default_schema and _kind_of(dialect) in registry.kinds:
        loaded = await asyncio.to_thread(engines.load, found, dialect)
    if loaded is not None:
        catalog = await _looked_at(registry, loaded.kind, Path(one.given).name or "ddl", loaded.options)
        return Side(one.given, "ddl", structure_of(catalog, skip), SCRATCH, loaded.kind, notes=_passed(loaded))
    return await asyncio.to_thread(_read, found, one, dialect, default_schema, skip)


def _kind_of(dialect: str) -> str:
    return {"postgres": "postgres", "duckdb": "duckdb", "sqlite": "sql"}.get(dialect, "")


def _read(found: Sequence[Script], one: Meant, dialect: str, default_schema: str, skip: Sequence[str]) -> Side:
    declared = read_scripts({s.name: s.text for s in found}, dialect, default_schema=default_schema)
    notes = [f"read as {dialect}, without an engine"]
    if declared.passed_over:
        notes.append(f"passed over: {counted(declared.passed_over)}")
    structure = structure_of(declared.catalog, skip)
    return Side(one.given, "ddl", structure, SCRATCH, f"read:{dialect}", notes=tuple(notes))


def _passed(loaded: Loaded) -> tuple[str, ...]:
    return (f"passed over: {loaded.passed_over}",) if loaded.passed_over else ()
