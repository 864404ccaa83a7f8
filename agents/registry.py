"""Which agents and playbooks there are, found through entry points: built-ins by the same door as third parties.

A misfit is refused at start, naming what is missing; the others go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from agents.base import Agent
from agents.playbook import Playbook

AGENTS = "dataswarm.agents"
PLAYBOOKS = "dataswarm.playbooks"


@dataclass(frozen=True, slots=True)
class Found:
    """What an entry-point group gave: classes by name, and misfits by name with the reason."""

    known: Mapping[str, type[Any]]
    refused: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)


def agents() -> Found:
    """All agents installed here."""
    return _find(AGENTS, Agent, _misfit_agent)


def playbooks() -> Found:
    """All playbooks installed here."""
    return _find(PLAYBOOKS, Playbook, _misfit_playbook)


def _find(group: str, base: type[Any], misfit: Callable[[type[Any]], str]) -> Found:
    known: dict[str, type[Any]] = {}
    refused: dict[str, str] = {}
    origin: dict[str, str] = {}
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        origin[point.name] = _origin(point)
        try:
            cls = point.load()
        except Exception as error:  # noqa: BLE001 - somebody else's module may raise anything; the others go on
            refused[point.name] = f"cannot be imported from {point.value}: {type(error).__name__}: {error}"
            continue
        if not (inspect.isclass(cls) and issubclass(cls, base)):
            refused[point.name] = f"{point.value} is not a subclass of {base.__name__}"
        elif reason := misfit(cls):
            refused[point.name] = reason
        elif cls.name != point.name:
            refused[point.name] = f"{point.value} calls itself {cls.name!r}; name and entry point must agree"
        else:
            known[point.name] = cls
    return Found(known, refused, origin)


def _origin(point: EntryPoint) -> str:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown distribution"
    return f"{point.value} ({distribution})"


def _misfit_agent(cls: type[Agent]) -> str:
    if not isinstance(getattr(cls, "name", None), str):
        return "missing member: name"
    for needed, because in ((cls.senses, "sense"), (cls.watches, "consider"), (cls.acts, "act")):
        if needed and getattr(cls, because) is getattr(Agent, because):
            return f"missing member: {because} (declared, not written)"
    return ""


def _misfit_playbook(cls: type[Playbook]) -> str:
    missing = [m for m in ("name", "causes") if not hasattr(cls, m)]
    missing += [m for m in ("check", "apply", "verify", "undo") if getattr(cls, m) is getattr(Playbook, m)]
    return f"missing member: {', '.join(missing)}" if missing else ""
