"""Which agents and playbooks there are: entry points, built-ins among them, each measured when it is loaded.

A misfit is refused at start, naming what is missing; the others go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any, TypeGuard

from agents.base import Agent
from agents.playbook import Playbook
from config.entry_points import Found, find, named_so, options_of, written_out

AGENTS = "dataswarm.agents"
PLAYBOOKS = "dataswarm.playbooks"


def agents(points: Iterable[EntryPoint] | None = None) -> Found:
    """All agents installed here; `points` stands in for the entry points in tests."""
    return find(AGENTS, agent_misfits, points)


def playbooks(points: Iterable[EntryPoint] | None = None) -> Found:
    """All playbooks installed here; `points` stands in for the entry points in tests."""
    return find(PLAYBOOKS, playbook_misfits, points)


def agent_misfits(candidate: object, name: str) -> list[str]:
    """Why something is no agent of that name; empty where it is one."""
    if not _is_a(candidate, Agent):
        return [f"{candidate!r} is no subclass of Agent"]
    declared = (
        ("senses", candidate.senses, "sense"),
        ("watches", candidate.watches, "consider"),
        ("acts", candidate.acts, "act"),
    )
    unwritten = [
        f"it lacks `{method}`, though it declares `{member}`"
        for member, values, method in declared
        if values and getattr(candidate, method) is getattr(Agent, method)
    ]
    return [*named_so(candidate, name), *options_of(candidate), *written_out(candidate), *unwritten]


def playbook_misfits(candidate: object, name: str) -> list[str]:
    """Why something is no playbook of that name; empty where it is one."""
    if not _is_a(candidate, Playbook):
        return [f"{candidate!r} is no subclass of Playbook"]
    causes = [] if getattr(candidate, "causes", ()) else ["it has no `causes`, the cause classes it treats"]
    return [*named_so(candidate, name), *options_of(candidate), *written_out(candidate), *causes]


def _is_a(candidate: object, base: type[Any]) -> TypeGuard[type[Any]]:
    return inspect.isclass(candidate) and issubclass(candidate, base)
