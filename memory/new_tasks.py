"""What a task must be before it is enqueued: checked field by field, before anything is written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from config.assets import Asset
from config.errors import UsageError
from memory import keys
from memory.records import JSON, NewTask

LONGEST_NAME = 200
LONGEST_SECONDS = 10 * 365 * 86400.0


def encode(value: JSON, field: str) -> str:
    """A JSON value as text PostgreSQL takes.

    Raises:
        UsageError: it holds something that is not JSON, NaN, or a NUL; the message names the field.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{field} is not JSON: {type(error).__name__}") from error
    if "\\u0000" in text:
        raise UsageError(f"{field} holds a NUL character, which PostgreSQL cannot store in JSON")
    return text


def columns(tasks: Sequence[NewTask]) -> dict[str, list[Any]]:
    """The tasks as one array a column, every field checked.

    Raises:
        UsageError: naming the first field that cannot be.
    """
    found: dict[str, list[Any]] = {
        name: []
        for name in (
            "agents", "kinds", "subjects", "payloads", "priorities", "max_attempts", "deadlines",
            "incident_ids", "keys", "outliving", "exclusive", "delays",
        )
    }  # fmt: skip
    for position, task in enumerate(tasks):
        where = f"task {position}: " if len(tasks) > 1 else ""
        _name(task.agent, where + "agent")
        _name(task.kind, where + "kind")
        if not isinstance(task.subject, Asset):
            raise UsageError(f"{where}subject is not an asset reference but {type(task.subject).__name__}")
        _whole(task.priority, where + "priority", -(2**31), 2**31 - 1)
        _whole(task.max_attempts, where + "max_attempts", 1, 1_000_000)
        _seconds(task.delay_seconds, where + "delay_seconds", 0.0)
        _seconds(task.deadline_seconds, where + "deadline_seconds", 0.001)
        if task.key is not None:
            keys.check(task.key, where + "key")
        elif task.key_outlives:
            raise UsageError(f"{where}key_outlives needs a key")
        found["agents"].append(task.agent)
        found["kinds"].append(task.kind)
        found["subjects"].append(str(task.subject))
        found["payloads"].append(encode(task.payload, where + "payload"))
        found["priorities"].append(task.priority)
        found["max_attempts"].append(task.max_attempts)
        found["deadlines"].append(float(task.deadline_seconds))
        found["incident_ids"].append(task.incident_id)
        found["keys"].append(task.key)
        found["outliving"].append(task.key_outlives)
        found["exclusive"].append(task.exclusive)
        found["delays"].append(float(task.delay_seconds))
    return found


def _name(value: object, field: str) -> None:
    if not isinstance(value, str) or not value or len(value) > LONGEST_NAME or not value.isprintable():
        raise UsageError(f"{field} must be 1 to {LONGEST_NAME} printable characters")


def _whole(value: object, field: str, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{field} must be a whole number from {least} to {most}, not {value!r}")


def _seconds(value: object, field: str, least: float) -> None:
    if not isinstance(value, int | float) or not math.isfinite(value) or not least <= value <= LONGEST_SECONDS:
        raise UsageError(f"{field} must be seconds from {least:g} to {LONGEST_SECONDS:g}, not {value!r}")
