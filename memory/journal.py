"""The journal of a task: each step is done once and remembered, so that another worker resumes after the last one.

A step's output is stored with its version and the hash of its type's JSON schema. What was stored under another
version or shape is refused, never misread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import PydanticInvalidForJsonSchema, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from config.errors import PermanentError, UsageError
from memory import keys
from memory.database import Database
from memory.new_tasks import encode
from memory.records import JSON, Sensitivity, Task
from memory.tasks import fence

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
    """The journal of one leased task.

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

    async def step(self, name: str, produce: Callable[[], Awaitable[T]], type_: type[T], version: int = 1) -> T:
        """The output of a step: remembered where it was finished before, else produced now and remembered.

        What comes back has been through its stored form in both cases, so a resumed run sees the same value.
        A step that raises leaves nothing behind. The output is on disk before this returns.

        Raises:
            PermanentError: it was finished under another version or shape.
            UsageError: the name is unfit, or the type has no JSON form.
            LeaseLostError: the task is no longer ours; the output is thrown away.
        """
        keys.check(name, "step", LONGEST_NAME)
        adapter: TypeAdapter[T] = TypeAdapter(type_)
        shape = _shape(adapter, name)
        known = await self._load()
        if name in known:
            return self._remember(known[name], adapter, shape, version)
        produced = await produce()
        try:
            output = adapter.dump_python(produced, mode="json", warnings="error")
        except PydanticSerializationError as error:
            raise UsageError(f"the step {name} produced something that is not {type_!r}") from error
        text = encode(output, f"the output of step {name}")
        async with self._db.transaction(clearance=self._clearance) as tx:
            await fence(tx, self._task)
            await tx.run(
                "write_step",
                task_id=self._task.id,
                name=name,
                version=version,
                shape=shape,
                output=text,
                attempt=self._task.attempt,
            )
        step = Step(name, version, shape, json.loads(text), self._task.attempt, self._task.created_at)
        known[name] = step
        return self._remember(step, adapter, shape, version)

    async def steps(self) -> list[Step]:
        """What is finished, in order, as it stands in the database now."""
        self._known = None
        return list((await self._load()).values())

    async def _load(self) -> dict[str, Step]:
        if self._known is None:
            async with self._db.transaction(clearance=self._clearance) as tx:
                rows = await tx.all("task_steps", task_id=self._task.id)
            self._known = {row["name"]: Step(**row) for row in rows}
        return self._known

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


def _shape(adapter: TypeAdapter[Any], name: str) -> str:
    """A short hash of a type's JSON schema."""
    try:
        schema = adapter.json_schema(mode="serialization")
    except PydanticInvalidForJsonSchema as error:
        raise UsageError(f"the type of step {name} has no JSON form") from error
    return hashlib.sha256(json.dumps(schema, sort_keys=True).encode()).hexdigest()[:16]
