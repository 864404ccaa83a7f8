"""What an agent is.

An agent **senses** a source and says what it saw, **considers** what was written on the blackboard and answers
with verdicts, and **acts** on a task. It writes nothing itself: the runtime turns what it returns into rows, in one
fenced transaction. It never imports or calls another agent.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from agents.context import Context, Happening
from agents.playbook import Bench, NoOptions
from agents.verdicts import Sensed, Verdict
from integrations.base import Integration
from memory.records import (
    JSON,
    Task,
)


class Scope(StrEnum):
    """Of what an agent watches, which subjects wake it."""

    EVERYTHING = "everything"
    UPSTREAM = "upstream"  # of the pipelines configured here, resolved through lineage


@dataclass(frozen=True, slots=True)
class Watch:
    """Topics (shell patterns) an agent is woken by, and whose subjects."""

    topics: tuple[str, ...]
    scope: Scope = Scope.EVERYTHING
    pattern: str = "*"


@dataclass(frozen=True, slots=True)
class Capability:
    """Something an agent does with a task of this kind; what is `on_request` anybody may ask it for.

    Attributes:
        input: what the task's payload holds: a JSON schema of an object, or in short names with a type or a few words
            each, all of them needed.
        output: what comes of it, described likewise.
        cost: `free` reads the blackboard, `cheap` looks outside, `costly` counts much, builds or asks a model.
        autonomy: what it may do without a human: observe, propose or act; empty: as policy says.
        on_request: False for what only the agent's own verdicts may cause, because they see to it that it is alone
            on its subject; humans have a command of their own for it. It is not offered, and asking is refused.
    """

    kind: str
    description: str
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    cost: Literal["", "free", "cheap", "costly"] = ""
    autonomy: Literal["", "observe", "propose", "act"] = ""
    on_request: bool = True


LOOK = Capability(
    "sense",
    "Look at a source now, not at its next time.",
    {
        "type": "object",
        "properties": {"source": {"type": "string", "minLength": 1, "description": "its name in the configuration"}},
        "required": ["source"],
        "additionalProperties": False,
    },
    {"observations": "integer"},
    cost="cheap",
    autonomy="observe",
)


class Agent(ABC):
    """A mind. Subclass it, declare what it senses and watches, and override what it does.

    Attributes:
        name: dashed and unique; the name in the configuration.
        senses: integration protocols it looks at, as `warehouse` / `orchestrator`; empty: none.
        every_seconds: how often it looks, unless configured otherwise.
        watches: what wakes it.
        acts: kinds of tasks it performs.
    """

    name: ClassVar[str]
    senses: ClassVar[tuple[type[Any], ...]] = ()
    every_seconds: ClassVar[float] = 60.0
    watches: ClassVar[tuple[Watch, ...]] = ()
    acts: ClassVar[tuple[Capability, ...]] = ()
    publishes: ClassVar[tuple[str, ...]] = ()  # kinds of observations it records
    Options: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options: Any = options if options is not None else self.Options()

    @classmethod
    def offers(cls) -> list[dict[str, Any]]:
        """What anybody may ask this agent for, as the registry publishes it: a look too, where it senses anything."""
        looks = [LOOK] if cls.senses and LOOK.kind not in {capability.kind for capability in cls.acts} else []
        return [asdict(capability) for capability in (*looks, *cls.acts) if capability.on_request]

    async def sense(self, source: Integration, baseline: JSON, context: Context) -> Sensed:
        """Look at a source; `baseline` is what the last look returned, None the first time."""
        del source, context
        return Sensed(baseline=baseline)

    async def consider(self, happenings: Sequence[Happening], context: Context) -> Sequence[Verdict]:
        """Answer what happened. No writes, no outside, deterministic; a batch or one by one ends the same."""
        del happenings, context
        return ()

    async def act(self, task: Task, bench: Bench) -> Sequence[Verdict]:
        """Perform a claimed task; the verdicts are written with its completion."""
        del bench
        raise NotImplementedError(f"{self.name} performs no task of kind {task.kind!r}")
