"""Changes announced ahead: by a file, over HTTP, by a merged pull request. The same announcement twice is one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from config import positions
from config.draft import Draft, nearest
from config.errors import Problem, UsageError
from dataswarm.commands.lengths import seconds
from dataswarm.views import Json, plain
from memory import keys
from memory.board import controls
from memory.connection.database import Database, Transaction

SCOPE: Final = "planned_change"
LONGEST_SECONDS: Final = 365 * 86_400.0
_ROOT: Final = "planned_changes"
_FIELDS: Final = ("asset", "kind", "from", "for", "until", "reason", "by")


@dataclass(frozen=True, slots=True)
class Announcement:
    """A change that is expected.

    Attributes:
        pattern: over asset references.
        kind: over kinds of observations.
        starts_at: None is now, by the server's clock.
        seconds: how long it is expected; None where `ends_at` says it.
        ends_at: until when.
        key: what tells it from another one; by default all it says.
    """

    pattern: str
    kind: str = "*"
    starts_at: datetime | None = None
    seconds: float | None = None
    ends_at: datetime | None = None
    reason: str = ""
    by: str = ""
    key: str = ""

    @property
    def digest(self) -> str:
        """Equal where the same is announced."""
        said = self.key or json.dumps(plain(self), sort_keys=True)
        return hashlib.sha256(f"{said}|{self.pattern}".encode()).hexdigest()


def check_pattern(pattern: str) -> None:
    """Is it a reference, or a pattern over references?

    Raises:
        UsageError: it is neither.
    """
    if "://" not in pattern:
        raise UsageError(
            f"not an asset reference or a pattern over references: {pattern[:80]!r}",
            hint="write warehouse://shop/raw.orders, or warehouse://shop/raw.* for all of them",
        )


async def announce(database: Database, all_: Sequence[Announcement], *, by: str, now: datetime) -> list[Json]:
    """Write announcements down, all or none; each with `is_new`, False where it stands already.

    Raises:
        UsageError: one ends before it begins, is over, or lasts longer than a year.
    """
    lengths = [_length(one, now) for one in all_]
    async with database.transaction() as tx:
        return [await _one(tx, one, length, by, now) for one, length in zip(all_, lengths, strict=True)]


def _length(one: Announcement, now: datetime) -> float:
    check_pattern(one.pattern)
    start = one.starts_at or now
    length = one.seconds if one.ends_at is None else (one.ends_at - start).total_seconds()
    if length is None or not 0 < length <= LONGEST_SECONDS:
        raise UsageError(
            f"{one.pattern}: it should last, and a year at most", hint="say for: 2h, or until: a later time"
        )
    if start.timestamp() + length <= now.timestamp():
        raise UsageError(f"{one.pattern}: it is over already", hint="say until when from now")
    return length


async def _one(tx: Transaction, one: Announcement, length: float, by: str, now: datetime) -> Json:
    start = one.starts_at or now
    lasting = start.timestamp() + length - now.timestamp()
    is_new = await keys.take(tx, SCOPE, one.digest, expires_seconds=lasting)
    said = {"pattern": one.pattern, "kind": one.kind, "by": one.by or by, "reason": one.reason}
    if not is_new:
        return {**said, "is_new": False}
    made = await controls.plan_change(
        tx, one.pattern, one.kind, one.by or by, one.reason, starts_at=one.starts_at, seconds=length
    )
    return {**plain(made), "is_new": True}


# --- files ---------------------------------------------------------------------------------------------------------


def read(text: str, name: str) -> list[Announcement]:
    """Announcements from YAML: a list, or one below `planned_changes`.

    Raises:
        UsageError: with every problem found, each with its line.
    """
    draft, shift = _drafted(text, name)
    listed = draft.data.get(_ROOT)
    found: list[Announcement] = []
    if not draft.problems and not isinstance(listed, list):
        draft.complain(name, "should be a list of changes, each with an asset and how long")
    for unknown in [key for key in draft.data if key != _ROOT]:
        draft.complain(draft.where((unknown,)), f"unknown key {unknown!r}", _ROOT)
    for place, entry in enumerate(listed if isinstance(listed, list) else ()):
        if (one := _entry(draft, place, entry)) is not None:
            found.append(one)
    if draft.problems:
        problems = [Problem(_shifted(p.where, shift), p.message, p.suggestion) for p in draft.problems]
        count = len(problems)
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(
            f"{count} problem{'s' if count != 1 else ''} in {name}, and nothing was announced:\n{lines}",
            hint="- asset: warehouse://shop/raw.orders, kind: schema.*, for: 2h, reason: release 7",
        )
    return found


def _drafted(text: str, name: str) -> tuple[Draft, int]:
    """A bare list is read as if it stood below the one key; its lines are counted from where it stands."""
    body = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    if body.startswith("-"):
        return positions.read(f"{_ROOT}:\n{text}", name, {}), 1
    if body.startswith("["):
        indented = text.replace("\n", "\n ")
        return positions.read(f"{_ROOT}:\n {indented}", name, {}), 1
    return positions.read(text, name, {}), 0


def _shifted(where: str, lines: int) -> str:
    head, colon, line = where.rpartition(":")
    return f"{head}:{max(int(line) - lines, 1)}" if colon and line.isdigit() else where


def _entry(draft: Draft, place: int, entry: Any) -> Announcement | None:
    path = (_ROOT, place)
    before = len(draft.problems)
    if not isinstance(entry, dict):
        draft.complain(draft.where(path), "should be a mapping such as `asset: warehouse://shop/raw.orders`")
        return None
    for key in [key for key in entry if key not in _FIELDS]:
        draft.complain(draft.where((*path, key)), f"unknown key {key!r}", nearest(key, _FIELDS))
    for key in [key for key in _FIELDS if entry.get(key) is not None and not isinstance(entry[key], str)]:
        draft.complain(draft.where((*path, key)), f"{key} should be a text")
    texts = {key: entry[key] for key in _FIELDS if isinstance(entry.get(key), str)}
    if "asset" not in entry:
        draft.complain(draft.where(path), "says no asset")
    if ("for" in entry) == ("until" in entry):
        draft.complain(draft.where(path), "should say either for (2h) or until (2026-12-01T08:00)")
    starts_at = _time(draft, (*path, "from"), texts)
    ends_at = _time(draft, (*path, "until"), texts)
    length = _seconds(draft, (*path, "for"), texts)
    if "asset" in texts and "://" not in texts["asset"]:
        draft.complain(draft.where((*path, "asset")), "is no asset reference, nor a pattern over references")
    if starts_at is not None and ends_at is not None and ends_at <= starts_at:
        draft.complain(draft.where((*path, "until")), "is before it begins")
    if len(draft.problems) > before:
        return None
    return Announcement(
        pattern=texts["asset"],
        kind=texts.get("kind", "*"),
        starts_at=starts_at,
        seconds=length,
        ends_at=ends_at,
        reason=texts.get("reason", ""),
        by=texts.get("by", ""),
    )


def _time(draft: Draft, path: tuple[str | int, ...], texts: Mapping[str, str]) -> datetime | None:
    said = texts.get(str(path[-1]))
    if said is None:
        return None
    try:
        written = datetime.fromisoformat(said.strip())
    except ValueError:
        draft.complain(draft.where(path), f"{path[-1]} is not a time; write 2026-12-01T08:00+01:00")
        return None
    return written if written.tzinfo else written.replace(tzinfo=UTC)


def _seconds(draft: Draft, path: tuple[str | int, ...], texts: Mapping[str, str]) -> float | None:
    said = texts.get(str(path[-1]))
    if said is None:
        return None
    try:
        return seconds(said)
    except UsageError as error:
        draft.complain(draft.where(path), f"{error.message}; {error.hint}")
        return None
