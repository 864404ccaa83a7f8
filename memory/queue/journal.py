"""The journal of a task: each step is done once and remembered, so that another worker resumes after the last one.

A step's output is stored with its version and a hash of its type's JSON schema. What was stored under another
version or shape is refused, never misread; so is an output that JSON would change on the way (bytes, NaN, infinity).
A journal that works under confidential clearance seals its outputs, for nobody knows what they hold.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import PydanticInvalidForJsonSchema, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from config.errors import PermanentError, UsageError
from memory import keys
from memory.connection.database import Database
from memory.queue.new_tasks import encode
from memory.queue.tasks import fence
from memory.records import JSON, Sensitivity, Task
from memory.vault import envelopes

T = TypeVar("T")
LONGEST_NAME = 400


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step: its output as JSON, and in which attempt of the task it was done."""

    name: str
    version: int
    shape: str
    output: JSON
    attempt: int
    at: datetime


class Journal:
    """The journal of one leased task. Steps of different names may be taken at the same time.

    Args:
        db: where it stands.
        task: as claimed, with its token: every write is fenced by it.
        clearance: of the transactions it opens.
    """

    def __init__(self, db: Database, task: Task, clearance: Sensitivity = Sensitivity.INTERNAL) -> None:
        self._db = db
        self._task = task
        self._clearance = clearance
        self._known: dict[str, Step] | None = None
        self._loading = asyncio.Lock()
        self._taking: dict[str, asyncio.Lock] = {}

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], type_: type[T], version: int = 1) -> T:
        """The output of a step: remembered where it was finished before, else produced now and remembered.

        What comes back has been through its stored form in both cases, so a resumed run sees the same value.
        A step is begun only while the lease is ours, and one that raises leaves nothing behind. The output is on
        disk before this returns. Where two ask for the same step at once, the second gets what the first stored.
        In a union, and where the type says `Any`, a value comes back as what its JSON form says.

        Raises:
            PermanentError: it was finished under another version or shape.
            UsageError: the name is unfit, the type has no JSON form, or the output cannot come back as it went.
            LeaseLostError: the task is no longer ours; nothing was begun, or what came of it is thrown away.
        """
        keys.check(name, "step", LONGEST_NAME)
        adapter: TypeAdapter[T] = TypeAdapter(type_)
        shape = _shape(adapter, name)
        async with self._taking.setdefault(name, asyncio.Lock()):
            known = await self._load()
            if name not in known:
                await self._make_sure()
                text = _text(adapter, await produce(), name)
                at = await self._write(name, version, shape, text)
                known[name] = Step(name, version, shape, json.loads(text), self._task.attempt, at)
            return self._remember(known[name], adapter, shape, version)

    async def steps(self) -> list[Step]:
        """What is finished, in order, as it stands in the database now."""
        return list((await self._read()).values())

    async def _load(self) -> dict[str, Step]:
        async with self._loading:
            if self._known is None:
                self._known = await self._read()
        return self._known

    async def _read(self) -> dict[str, Step]:
        async with self._db.transaction(clearance=self._clearance) as tx:
            rows = await tx.all("task_steps", task_id=self._task.id)
            for row in rows:
                if envelopes.is_envelope(row["output"]):
                    opened = await envelopes.opened_value(tx, "step", self._about(row["name"]), row["output"])
                    row["output"] = opened["output"]
        return {row["name"]: Step(**row) for row in rows}

    def _about(self, name: str) -> tuple[str, str]:
        """What a sealed output is bound to."""
        return str(self._task.id), name

    async def _make_sure(self) -> None:
        """Whoever slept through its lease does not begin: a step may cost money, or be seen outside."""
        async with self._db.transaction(clearance=self._clearance, durable=False) as tx:
            await fence(tx, self._task)

    async def _write(self, name: str, version: int, shape: str, text: str) -> datetime:
        if envelopes.is_envelope(json.loads(text)):
            raise UsageError(f"the output of step {name} looks sealed and is not", hint="call its fields otherwise")
        async with self._db.transaction(clearance=self._clearance) as tx:
            await fence(tx, self._task)
            if self._clearance is Sensitivity.CONFIDENTIAL:
                vault = envelopes.of(tx)
                await vault.hash_key(tx)  # a wrong key is noticed here, before anything is sealed with it
                sealed = vault.seal("step", self._about(name), {"output": json.loads(text)})
                await envelopes.keep(tx, [sealed])
                text = sealed.envelope
            row = await tx.one(
                "write_step",
                task_id=self._task.id,
                name=name,
                version=version,
                shape=shape,
                output=text,
                attempt=self._task.attempt,
            )
        assert row is not None  # noqa: S101 - INSERT … RETURNING has one row
        at: datetime = row["at"]
        return at

    def _remember(self, step: Step, adapter: TypeAdapter[T], shape: str, version: int) -> T:
        changed = PermanentError(
            f"step {step.name} of task {self._task.id} was finished as version {step.version} of another shape "
            f"than version {version} expects",
            hint="cancel the task and enqueue it anew, or run it with the release that began it",
        )
        if (step.version, step.shape) != (version, shape):
            raise changed
        try:
            return adapter.validate_json(json.dumps(step.output))
        except ValidationError:
            raise changed from None  # the validation error would quote the value


def _text(adapter: TypeAdapter[Any], produced: object, name: str) -> str:
    """The output as JSON text, or UsageError: without this, JSON would turn bytes into text and infinity into null."""
    try:
        plain = adapter.dump_python(produced, warnings="error")
        unfit = _unfit(plain)
        output = None if unfit else adapter.dump_python(produced, mode="json", warnings="error")
    except (PydanticSerializationError, ValueError) as error:
        raise UsageError(f"the step {name} produced something that is not of its type") from error
    if unfit:
        raise UsageError(f"the output of step {name} holds {unfit}, which does not come back from JSON as it went")
    text = encode(output, f"the output of step {name}")
    try:
        adapter.validate_json(text)
    except ValidationError:
        raise UsageError(f"the output of step {name} cannot be read back from its JSON form") from None
    return text


def _unfit(value: object) -> str:
    """What in a dumped value JSON would change silently; empty where nothing is."""
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is not finite"
    if isinstance(value, Decimal) and not value.is_finite():
        return "a number that is not finite"
    if isinstance(value, Mapping):
        return next(filter(None, (_unfit(part) for pair in value.items() for part in pair)), "")
    if isinstance(value, list | tuple | set | frozenset):
        return next(filter(None, map(_unfit, value)), "")
    return ""


def _shape(adapter: TypeAdapter[Any], name: str) -> str:
    """A short hash of a type's JSON schema, as written and as read: a Decimal is written like a string, say."""
    try:
        schemas = [adapter.json_schema(mode="serialization"), adapter.json_schema(mode="validation")]
    except PydanticInvalidForJsonSchema as error:
        raise UsageError(f"the type of step {name} has no JSON form") from error
    text = json.dumps(schemas, sort_keys=True)
    if '"format": "binary"' in text:
        raise UsageError(f"the type of step {name} holds bytes, which have no JSON form", hint="store them as base64")
    return hashlib.sha256(text.encode()).hexdigest()[:16]
