"""Files beside the database: folders of markdown that recall searches too, and facts written out as markdown.

Indexing follows the folder: what changed there is a new version, what is gone there is retracted. Exporting never
overwrites what a person wrote: it knows its own files by their hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from pathlib import Path

from config.assets import Asset
from config.errors import PolicyError, UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding import ingest
from memory.finding.ingest import Filed
from memory.records import Fact, Learning, Sensitivity

MANIFEST = ".dataswarm-export.json"
_ENDINGS = frozenset({".md", ".markdown"})
_MOST = 100_000
_OURS = re.compile(r"^(facts|learnings)/[A-Za-z0-9_./-]+\.md(\.new(\.[0-9]+)?)?$")


async def index(
    db: Database, folder: Path, *, name: str | None = None, sensitivity: Sensitivity = Sensitivity.INTERNAL
) -> list[Filed]:
    """Bring what memory knows of a folder of markdown up to date; what became of each file.

    Raises:
        UsageError: no such folder, or another one is known by that name.
    """
    root, found = await asyncio.to_thread(_listed, folder)
    source = ingest.source_name(name or root.name)
    filed = [await ingest.take(db, root, file, source, sensitivity=sensitivity) for file in found]
    there = {one.path for one in filed if one.state != "skipped"}
    async with db.transaction() as tx:
        gone = [
            row["path"]
            for row in await tx.all("known_files", source=source)
            if row["path"] not in there and Path(row["path"]).suffix.lower() in _ENDINGS
        ]
    return [*filed, *[await ingest.retire(db, source, path) for path in gone]]


def _listed(folder: Path) -> tuple[Path, list[Path]]:
    if not folder.expanduser().is_dir():
        raise UsageError(f"there is no folder {str(folder)!r}")
    return ingest.listed(folder, _ENDINGS)


@dataclass(frozen=True, slots=True)
class Exported:
    """One exported file.

    Attributes:
        path: within the folder.
        state: written, unchanged, removed, or beside (what a person wrote stands).
        ours: where ours is instead, if beside: `.new`, or `.new.2` and so on where a person wrote there too.
    """

    path: str
    state: str
    ours: str = ""


async def export(
    db: Database, folder: Path, *, clearance: Sensitivity = Sensitivity.INTERNAL, branch: str = knowledge.MAIN
) -> list[Exported]:
    """Write facts and learnings as markdown, a file for each asset and each playbook; notes are left out.

    Equal memories give equal files, so the folder may be kept in git.

    Raises:
        PolicyError: asked for what is confidential, which is in no file in the clear.
        UsageError: the folder cannot be written.
    """
    if clearance is Sensitivity.CONFIDENTIAL:
        raise PolicyError("what is confidential is not exported: a file would hold it in the clear")
    async with db.transaction(clearance=clearance) as tx:
        facts = await knowledge.facts(tx, branch=branch, limit=_MOST)
        learned = await knowledge.learnings(tx, limit=_MOST)
    pages = {**_fact_pages(facts), **_learning_pages(learned)}
    try:
        return await asyncio.to_thread(_put, folder, pages)
    except OSError as error:
        raise UsageError(f"cannot write into {str(folder)!r}: {error.strerror or type(error).__name__}") from None


def _fact_pages(facts: Iterable[Fact]) -> dict[str, str]:
    shown = sorted(
        (fact for fact in facts if fact.subject.scheme != "note"), key=lambda fact: (str(fact.subject), fact.predicate)
    )
    pages = {}
    for whole, group in groupby(shown, key=lambda fact: fact.subject.whole):
        lines = [f"# {whole}", ""]
        for fact in group:
            title = f"{fact.predicate} of {fact.subject.part}" if fact.subject.part else fact.predicate
            lines += [f"## {title}", "", *_object(fact.object), "", _standing(fact), ""]
        pages[f"facts/{whole.scheme}/{whole.source}/{_file(whole)}.md"] = _page(lines)
    return pages


def _object(value: object) -> list[str]:
    if isinstance(value, str) and "\n" not in value:
        return [value]
    return ["```json", json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False), "```"]


def _standing(fact: Fact) -> str:
    source = f", from {fact.source}" if fact.source else ""
    return (
        f"*version {fact.version} by {fact.agent} since {fact.valid_from:%Y-%m-%d %H:%M}Z, "
        f"confidence {fact.confidence:g}{source}*"
    )


def _learning_pages(learned: Sequence[Learning]) -> dict[str, str]:
    pages = {}
    ordered = sorted(learned, key=lambda one: (one.playbook, one.id))
    for playbook, group in groupby(ordered, key=lambda one: one.playbook):
        lines = [f"# What was learned of {playbook or 'everything else'}", ""]
        lines += [
            f"- {one.at:%Y-%m-%d} **{one.signal}** {one.cause} on {one.subject}: {' '.join(one.text.split())}"
            for one in group
        ]
        pages[f"learnings/{_safe(playbook) or 'general'}.md"] = _page([*lines, ""])
    return pages


def _page(lines: Sequence[str]) -> str:
    return "\n".join(["---", f"{ingest.EXPORTED}: dataswarm", "---", "", *lines])


def _file(asset: Asset) -> str:
    """A file's name for an asset; a digest tells apart what looks alike without its odd characters."""
    safe = _safe(asset.path) or "source"
    return safe if safe == asset.path else f"{safe[:150]}-{hashlib.sha256(str(asset).encode()).hexdigest()[:8]}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")


def _put(folder: Path, pages: Mapping[str, str]) -> list[Exported]:
    folder = folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    ours = _read_manifest(manifest)
    kept: dict[str, str] = {}
    done: list[Exported] = []
    for name, text in sorted(pages.items()):
        content = text.encode()
        place = next(place for place in _places(name) if _is_free(folder, place, content, ours))
        state = "unchanged" if _content(folder / place) == content else "written"
        if state == "written":
            _write(folder / place, content)
        kept[place] = _hashed(content)
        if place == name:
            done.append(Exported(name, state))
            continue
        done.append(Exported(name, "beside", place))
        if name in ours:
            kept[name] = ours[name]  # a person who takes the edit back has ours again
    for name in sorted(ours.keys() - kept.keys()):
        held = _content(folder / name)
        if held is not None and _hashed(held) == ours[name]:
            (folder / name).unlink()
            done.append(Exported(name, "removed"))
    _write(manifest, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())
    return done


def _places(name: str) -> Iterator[str]:
    """Where a page may go: to its own place, else beside what a person wrote there."""
    yield name
    yield f"{name}.new"
    yield from (f"{name}.new.{number}" for number in count(2))


def _is_free(folder: Path, place: str, content: bytes, ours: Mapping[str, str]) -> bool:
    """Is nothing of a person's there? What says the same is as good as ours."""
    held = _content(folder / place)
    return held is None or held == content or _hashed(held) == ours.get(place)


def _hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_manifest(path: Path) -> dict[str, str]:
    held = _content(path)
    if held is None:
        return {}
    try:
        found = json.loads(held)
    except ValueError:
        return {}  # unknown whose the files are: then they are a person's
    if not isinstance(found, dict):
        return {}
    return {name: str(hashed) for name, hashed in found.items() if _OURS.match(name) and ".." not in name}


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)
