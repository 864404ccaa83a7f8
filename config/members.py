"""The parts of the configuration that are named by the reader: agents, sources, playbooks, channels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from config.policy import Autonomy
from config.section import FlatSection, Section

# The characters an asset reference allows for a source, so that every source can be named in one.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]
Kind = Annotated[str, Field(min_length=1)]
Topic = Literal["escalation", "approval", "resolved", "info"]


class AgentSettings(Section):
    """One agent: is it on, how far may it go, how often does it look, how much may it read, its own options.

    `autonomy` and `every_seconds` of None leave it to the policy and to the agent. `limits` say how many tasks of a
    kind may run at once, over all replicas. `options` are left out of the representation: they may hold secrets.
    """

    enabled: bool = True
    autonomy: Autonomy | None = None
    every_seconds: Annotated[float, Field(gt=0)] | None = None
    clearance: Literal["public", "internal", "confidential"] = "internal"
    limits: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict, repr=False)


class SourceSettings(FlatSection):
    """One system that is looked at: which integration (`kind`), in which environment, and that one's options.

    Options may be written flat beside `kind`. An `environment` of None is that of the process.
    """

    kind: Kind
    enabled: bool = True
    environment: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, repr=False)


class PlaybookSettings(Section):
    """One playbook: is it on, how far may it go, its own options."""

    enabled: bool = True
    autonomy: Autonomy | None = None
    options: dict[str, Any] = Field(default_factory=dict, repr=False)


class ChannelSettings(FlatSection):
    """One way to a human: which integration (`kind`), what it is told of (`on`), and that one's options, flat too."""

    kind: Kind
    enabled: bool = True
    on: tuple[Topic, ...] = ("escalation", "approval", "resolved")
    options: dict[str, Any] = Field(default_factory=dict, repr=False)
