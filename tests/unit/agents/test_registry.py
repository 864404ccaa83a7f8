"""Discovery of agents and playbooks: what fits is found, a misfit is refused by what it lacks."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from agents.base import Agent, Watch
from agents.playbook import Case, Plan, Playbook, Unfit
from agents.registry import AGENTS, PLAYBOOKS, agents, playbooks
from config.entry_points import find

MODULE = "third_party_minds_for_tests"


class Bare(Playbook):
    """A remedy that forgot how to take itself back, and to verify."""

    name = "bare"
    causes = ("unknown",)

    async def check(self, case: Case, bench: Any) -> Plan | Unfit:
        """Never fits."""
        return Unfit("never")

    async def apply(self, case: Case, plan: Plan, bench: Any) -> dict[str, Any]:
        """Do nothing."""
        return {}


class Loose(BaseModel):
    """Options that take any key."""


class Deaf(Agent):
    """Says that it watches, and considers nothing; takes any option."""

    name = "deaf"
    watches: ClassVar[tuple[Watch, ...]] = (Watch(("observation.*",)),)
    Options: ClassVar[type[BaseModel]] = Loose


class Quiet(Agent):
    """Fits: it does nothing and says so."""

    name = "quiet"


@pytest.fixture(autouse=True)
def third_party() -> Iterator[None]:
    """A module that somebody else installed."""
    module = types.ModuleType(MODULE)
    for member in (Bare, Deaf, Quiet):
        setattr(module, member.__name__, member)
    sys.modules[MODULE] = module
    yield
    del sys.modules[MODULE]


def point(name: str, value: str, group: str = AGENTS) -> EntryPoint:
    """An entry point as a distribution declares it."""
    return EntryPoint(name=name, value=f"{MODULE}:{value}", group=group)


def test_built_ins_come_by_the_same_way() -> None:
    """Three agents and four playbooks, none refused, each with where it comes from."""
    minds, remedies = agents(), playbooks()
    assert {"schema-drift", "pipeline-health", "incident-response"} <= set(minds.known)
    assert {"rerun-failed", "patch-model", "compatibility-view", "quarantine-rows"} <= set(remedies.known)
    assert dict(minds.refused) == dict(remedies.refused) == {}
    assert minds.origin["schema-drift"].startswith("dataswarm ")


def test_a_misfit_is_refused_by_what_it_lacks() -> None:
    """Every open member of a playbook is named; so are options that take any key, and what is declared alone."""
    found = playbooks([point("bare", "Bare", PLAYBOOKS)])
    assert dict(found.refused) == {"bare": "it lacks `undo`; it lacks `verify`"}
    found = agents([point("deaf", "Deaf"), point("quiet", "Quiet")])
    assert list(found.known) == ["quiet"]
    assert "it lacks `consider`, though it declares `watches`" in found.refused["deaf"]
    assert "take any key" in found.refused["deaf"]


def test_what_is_something_else_is_refused() -> None:
    """Another name, no subclass, no such object: each says so, and the others go on."""
    found = agents([point("loud", "Quiet"), point("bare", "Bare"), point("gone", "Nothing"), point("quiet", "Quiet")])
    assert list(found.known) == ["quiet"]
    assert found.refused["loud"] == "its `name` is 'quiet', the entry point is 'loud'"
    assert found.refused["bare"].endswith("is no subclass of Agent")
    assert found.refused["gone"].startswith("it cannot be loaded: AttributeError")


def test_the_first_keeps_a_name_that_two_claim() -> None:
    """The second is refused by its own origin, and the first stays."""
    found = find(AGENTS, lambda *_: [], [point("quiet", "Deaf"), point("quiet", "Quiet")])
    assert list(found.known) == ["quiet"]
    assert found.refused["quiet"] == (f"'quiet' is {MODULE}:Deaf already; {MODULE}:Quiet must take another name")
