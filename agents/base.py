"""What an agent is.

An agent **senses** a source and says what it saw, **considers** what was written on the blackboard and answers
with verdicts, and **acts** on a task. It writes nothing itself: the runtime turns what it returns into rows, in one
fenced transaction. It never imports or calls another agent.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

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
    """Something an agent can be asked to do: the ask becomes a task of this kind."""

    kind: str
    description: str
    input: Mapping[str, str] = field(default_factory=dict)
    output: Mapping[str, str] = field(default_factory=dict)


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
