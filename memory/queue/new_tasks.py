"""What a task must be before it is enqueued: checked field by field, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from config.assets import Asset
from config.errors import UsageError
from memory import keys
from memory.queue.checks import LONGEST_SECONDS, seconds, whole
from memory.queue.kinds import MOST_ATTEMPTS, Kind, Known
from memory.records import JSON, NewTask

LARGEST_INLINE = 8_000
LARGEST = 16 * 1024 * 1024
PARTED = "\x1e"  # JSON, names and asset references never hold it
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)
_SMALLEST, _MOST = -(2**31), 2**31 - 1
_SHORTEST = 0.001
text_of = lru_cache(8192)(str)


def encode(value: JSON, field: str, largest: int | None = None) -> str:
    """A JSON value as text PostgreSQL takes.

    Raises:
        UsageError: it holds something that is not JSON, NaN, or a NUL, or is longer than `largest` bytes; the message
            names the field.
    """
    try:
        text = _ENCODER.encode(value)
        length = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{field} is not JSON: {type(error).__name__}") from error
    if "\\u0000" in text and any("\0" in string for string in _strings(value)):
        raise UsageError(f"{field} holds a NUL character, which PostgreSQL cannot store in JSON")
    if largest is not None and length > largest:
        raise UsageError(
            f"{field} has {length} bytes as JSON, and {largest} is the most",
            hint="put it where it belongs (a file, a table) and let the task name it",
        )
    return text


def _strings(value: JSON) -> list[str]:
    """Every string in a JSON value, keys too. The text alone cannot tell a NUL from a backslash before `u0000`."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _strings(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in _strings(part)]
    return []


class Batch:
    """Checked tasks as the columns of one statement.

    Attributes:
        tasks, kinds: as given, and each one's kind.
        is_plain: none has a key, a subject to itself, a delay, a kind with a limit or a blob.

    Raises:
        UsageError: naming the first field that cannot be.
    """

    def __init__(self, tasks: Sequence[NewTask], known: Known | None) -> None:
        self.tasks = tasks
        self.kinds: list[Kind] = []
        self.payloads: list[str] = []
        self.subjects: list[str] = []
        self.is_plain = True
        if known is None:
            return
        several = len(tasks) > 1
        for position, task in enumerate(tasks):
            self._take(task, known, f"task {position}: " if several else "")

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Several as one."""
        if len(batches) == 1:
            return batches[0]
        whole_ = cls([task for batch in batches for task in batch.tasks], None)
        whole_.kinds = [kind for batch in batches for kind in batch.kinds]
        whole_.payloads = [payload for batch in batches for payload in batch.payloads]
        whole_.subjects = [subject for batch in batches for subject in batch.subjects]
        whole_.is_plain = all(batch.is_plain for batch in batches)
        return whole_

    def _take(self, task: NewTask, known: Known, where: str) -> None:
        kind = known.kinds.get((task.agent, task.kind)) or known.require(task.agent, task.kind, where)
        if not isinstance(task.subject, Asset):
            raise UsageError(f"{where}subject is not an asset reference but {type(task.subject).__name__}")
        if not (type(task.priority) is int and _SMALLEST <= task.priority <= _MOST):
            whole(task.priority, where + "priority", _SMALLEST, _MOST)
        if task.max_attempts is not None:
            whole(task.max_attempts, where + "max_attempts", 1, MOST_ATTEMPTS)
        if not (type(task.deadline_seconds) is float and _SHORTEST <= task.deadline_seconds <= LONGEST_SECONDS):
            seconds(task.deadline_seconds, where + "deadline_seconds", _SHORTEST)
        if task.delay_seconds != 0:
            seconds(task.delay_seconds, where + "delay_seconds", 0.0)
        if task.key is not None:
            keys.check(task.key, where + "key")
        elif task.key_outlives:
            raise UsageError(f"{where}key_outlives needs a key")
        payload = "{}" if not task.payload else encode(task.payload, where + "payload", LARGEST)
        if (
            task.key is not None
            or task.exclusive
            or task.delay_seconds > 0
            or kind.max_running is not None
            or len(payload) > LARGEST_INLINE
        ):
            self.is_plain = False
        self.kinds.append(kind)
        self.payloads.append(payload)
        self.subjects.append(text_of(task.subject))

    def columns(self, known: Known) -> dict[str, Any]:
        """The parameters of `enqueue_plain` or `enqueue_keyed`. What all share is given once."""
        tasks, kinds = self.tasks, self.kinds
        found: dict[str, Any] = {"version": known.version}
        _text(found, "agent", "agents", [task.agent for task in tasks])
        _text(found, "kind", "kinds", [task.kind for task in tasks])
        _text(found, "subject", "subjects", self.subjects)
        _plain(found, "priority", "priorities", [task.priority for task in tasks])
        attempts = [task.max_attempts or kind.max_attempts for task, kind in zip(tasks, kinds, strict=True)]
        _plain(found, "attempts", "max_attempts", attempts)
        _plain(found, "deadline", "deadlines", [float(task.deadline_seconds) for task in tasks])
        _plain(found, "announced", "announces", [kind.announces for kind in kinds])
        incidents = [task.incident_id for task in tasks]
        found["incident_ids"] = incidents if any(id_ is not None for id_ in incidents) else []
        if self.is_plain:
            found["payloads"] = PARTED.join(self.payloads)
            return found
        large = [len(payload) > LARGEST_INLINE for payload in self.payloads]
        found["payloads"] = PARTED.join("" if apart else text for apart, text in zip(large, self.payloads, strict=True))
        found["bodies"] = (
            [text if apart else None for apart, text in zip(large, self.payloads, strict=True)] if any(large) else []
        )
        found["keys"] = [task.key for task in tasks]
        found["outliving"] = [task.key_outlives for task in tasks]
        found["exclusive"] = [task.exclusive for task in tasks]
        found["limited"] = [kind.max_running is not None for kind in kinds]
        found["delays"] = [float(task.delay_seconds) for task in tasks]
        return found


def _text(found: dict[str, Any], one: str, many: str, values: list[str]) -> None:
    alike = values.count(values[0]) == len(values)
    found[one], found[many] = (values[0], "") if alike else (None, PARTED.join(values))


def _plain(found: dict[str, Any], one: str, many: str, values: list[Any]) -> None:
    alike = values.count(values[0]) == len(values)
    found[one], found[many] = (values[0], []) if alike else (None, values)
