"""Files become notes: facts of the kind `note`, `runbook`, `convention` or `postmortem`, one for each section.

So notes have versions, a history, a clearance, and are found with everything else. The same file twice changes
nothing; a section that is gone is retracted. A file is written wholly or not at all; one that cannot be read is named
and the others go on.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from config.assets import Asset
from config.errors import ConflictError, PolicyError, UsageError
from memory import forms
from memory.beliefs import knowledge
from memory.connection.database import Database, Transaction
from memory.finding import chunks
from memory.records import JSON, Sensitivity
from memory.vault import envelopes

LARGEST = 16_000_000  # bytes of one file
KINDS = ("note", "runbook", "convention", "postmortem")
EXPORTED = "exported-by"
_MARKDOWN, _PLAIN, _SESSIONS = frozenset({".md", ".markdown"}), frozenset({".txt", ".text", ".rst"}), {".jsonl"}
_LONGEST_REFERENCE = 500
_BY = "ingest"


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of one file.

    Attributes:
        path: within what was given.
        state: written, unchanged, retired (it is gone), skipped (ours) or failed.
        written, retired: sections.
        error: why it failed; what it says of the content is its place at most.
        left_out, unknown, broken: of a session log, as `chunks.Conversation` says.
    """

    path: str
    state: str
    written: int = 0
    retired: int = 0
    error: str = ""
    left_out: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)
    broken: int = 0


async def ingest(
    db: Database,
    path: Path,
    *,
    name: str | None = None,
    sensitivity: Sensitivity = Sensitivity.INTERNAL,
    by: str = _BY,
) -> list[Filed]:
    """Take in a file, or every text of a folder: markdown, plain text, session logs as JSON lines.

    - name: what the folder is called in references (`note://name/path#section`); by default as it is on disk.

    Raises:
        UsageError: there is no such path, or another folder is known by that name.
    """
    root, found = await asyncio.to_thread(listed, path, _MARKDOWN | _PLAIN | _SESSIONS)
    source = source_name(name or root.name)
    return [await take(db, root, file, source, sensitivity=sensitivity, by=by) for file in found]


def listed(path: Path, endings: frozenset[str] | set[str]) -> tuple[Path, list[Path]]:
    """The folder of a path, and its texts in order; hidden ones are left out.

    Raises:
        UsageError: there is no such path.
    """
    path = path.expanduser()
    if path.is_file() or path.is_symlink():
        root = path.parent.resolve()
        return root, [root / path.name]
    if not path.is_dir():
        raise UsageError(f"there is no file or folder {str(path)!r}")
    root = path.resolve()
    return root, sorted(_walk(root, endings))


def _walk(root: Path, endings: frozenset[str] | set[str]) -> Iterator[Path]:
    """Links are not followed: a folder of notes is no way into the rest of the disk."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            file = Path(folder) / name
            if not name.startswith(".") and file.suffix.lower() in endings and not file.is_symlink():
                yield file


def source_name(name: str) -> str:
    """A folder's name as references may hold it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "files"


async def take(db: Database, root: Path, file: Path, source: str, *, sensitivity: Sensitivity, by: str = _BY) -> Filed:
    """Take in one file; what is wrong with it is in the answer, and nothing of it was written then.

    Raises:
        TransientError: the database is away.
        UsageError: another folder is known by that name.
    """
    path = _readable(file.relative_to(root).as_posix())
    try:
        content = await asyncio.to_thread(_content, file)
        filed, kind, said_level, pieces = await asyncio.to_thread(_pieces, file, path, content)
    except OSError as error:
        return Filed(path, "failed", error=f"cannot be read: {type(error).__name__}")
    except UsageError as error:
        return Filed(path, "failed", error=error.message)
    if filed.state == "skipped":
        return filed
    level = max(sensitivity, said_level)
    digest = hashlib.sha256(content).hexdigest()
    try:
        async with db.transaction() as tx:
            known = await _known(tx, root, source, path)
        if known == (digest, level):
            return replace(filed, state="unchanged")
        # What the file held before may be above what it says now: both are needed to replace it.
        reach = max(level, known[1] if known else level, Sensitivity.INTERNAL)
        async with db.transaction(clearance=reach) as tx:
            if await _alone(tx, root, source, path) == (digest, level):
                filed = replace(filed, state="unchanged")  # a replica was quicker
            else:
                written, gone = await _write(tx, Asset("note", source, _short(path)), kind, pieces, level, by)
                await tx.run("note_file", source=source, path=path, root=str(root), hash=digest, sensitivity=int(level))
                filed = replace(filed, written=written, retired=gone)
    except (UsageError, PolicyError, ConflictError) as error:
        if "known by that name" in error.message:
            raise
        return Filed(path, "failed", error=error.message)
    return filed


def _readable(name: str) -> str:
    """A name as it can be told: on disk it may be any bytes."""
    return name.encode(errors="replace").decode()


def _content(file: Path) -> bytes:
    if _readable(str(file)) != str(file):
        raise UsageError("its name is not text in UTF-8")
    size = file.stat().st_size
    if size > LARGEST:
        raise UsageError(f"it has {size} bytes, at most {LARGEST} are taken in")
    return file.read_bytes()


def _decoded(content: bytes) -> str:
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(f"it is not text in UTF-8: byte {error.start} is none") from None
    if "\0" in text:
        raise UsageError(f"it holds a NUL character, at place {text.index(chr(0))}: not a text")
    return text


def _pieces(file: Path, path: str, content: bytes) -> tuple[Filed, str, Sensitivity, Sequence[chunks.Chunk]]:
    """What a file holds, of which kind, at which sensitivity it says it is."""
    text = _decoded(content)
    ending = file.suffix.lower()
    if ending in _SESSIONS:
        said = chunks.conversation(text)
        filed = Filed(path, "written", left_out=said.left_out, unknown=said.unknown, broken=said.broken)
        return filed, "note", Sensitivity.PUBLIC, said.chunks
    if ending in _MARKDOWN:
        head, body = chunks.front_matter(text)
        if EXPORTED in head:
            return Filed(path, "skipped"), "note", Sensitivity.PUBLIC, ()
        level = head.get("sensitivity", "public").upper()
        if level not in Sensitivity.__members__:
            raise UsageError("its sensitivity is none of public, internal, confidential")
        return Filed(path, "written"), _kind(path, head), Sensitivity[level], chunks.markdown(body)
    return Filed(path, "written"), _kind(path, {}), Sensitivity.PUBLIC, chunks.plain(text)


def _kind(path: str, head: Mapping[str, str]) -> str:
    """What a text is: as it says, else as the folders on its way are called, else a note."""
    said = head.get("kind", "").lower()
    if said:
        if said not in KINDS:
            raise UsageError(f"its kind is none of {', '.join(KINDS)}")
        return said
    words = re.sub(r"[^a-z/]", "", path.lower())
    return next((kind for kind in KINDS[1:] if kind in words), "note")


async def _known(tx: Transaction, root: Path, source: str, path: str) -> tuple[str, Sensitivity] | None:
    row = await tx.one("known_file", source=source, path=path)
    if row is None:
        return None
    if row["root"] != str(root):
        raise UsageError(
            f"another folder is known by that name: {source!r}", hint="give this one a name of its own with --name"
        )
    return row["hash"], Sensitivity(row["sensitivity"])


async def _alone(tx: Transaction, root: Path, source: str, path: str) -> tuple[str, Sensitivity] | None:
    """What is known of a file that nobody else takes in until this transaction ends."""
    await tx.one("hold_file", source=source, path=path)
    return await _known(tx, root, source, path)


def _short(path: str) -> str:
    """A path as a reference may hold it: a very long one by its end and a digest."""
    asset = Asset("note", "x", path)
    return path if len(str(asset)) <= _LONGEST_REFERENCE // 2 else f"{forms.digest(path)[:16]}{Path(path).suffix}"


def _section(whole: Asset, heading: str) -> Asset:
    found = whole.column(heading)
    return found if len(str(found)) <= _LONGEST_REFERENCE else whole.column(forms.digest(heading)[:16])


async def _write(
    tx: Transaction, whole: Asset, kind: str, pieces: Sequence[chunks.Chunk], level: Sensitivity, by: str
) -> tuple[int, int]:
    """The sections as facts; how many have a new version, and how many were retracted."""
    rows = await envelopes.opened(tx, "fact", await tx.all("file_sections", whole=str(whole)))
    held = {(fact.subject, fact.predicate): fact for fact in map(knowledge.read_fact, rows)}
    written = 0
    for piece in pieces:
        subject = _section(whole, piece.heading)
        said: JSON = {"heading": piece.heading, "text": piece.text}
        before = held.pop((subject, kind), None)
        if before is not None and (before.object, before.sensitivity) == (said, level):
            continue
        await knowledge.assert_fact(tx, by, subject, kind, said, expected=None, source=whole.path, sensitivity=level)
        written += 1
    gone = [fact for fact in held.values() if fact.predicate in KINDS]
    for fact in gone:
        await knowledge.retract(tx, by, fact.subject, fact.predicate, reason="it is not in the file any more")
    return written, len(gone)


async def retire(db: Database, source: str, path: str, *, by: str = _BY) -> Filed:
    """Retract what a file held that is gone; its history stays."""
    whole = Asset("note", source, _short(path))
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await tx.one("hold_file", source=source, path=path)
        _, gone = await _write(tx, whole, "note", (), Sensitivity.INTERNAL, by)
        await tx.run("forget_file", source=source, path=path)
    return Filed(path, "retired", retired=gone)
