"""Every YAML file below a folder named after an agent is a case: no Python needed to add one. See README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents import registry
from agents.base import Agent
from agents.verdicts import Verdict
from memory.records import JSON
from tests.cases.comparing import plain, unmatched
from tests.cases.reading import ContextAsData, Shelf, happenings, load

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.yaml"))


def _agent(path: Path, case: dict[str, Any]) -> Agent:
    name = path.parent.name.replace("_", "-")
    cls = registry.agents().known[name]
    agent: Agent = cls(cls.Options.model_validate(case.get("options", {})))
    return agent


def _named(verdict: Verdict) -> dict[str, Any]:
    return {type(verdict).__name__: plain(verdict)}


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
async def test_case(path: Path) -> None:
    """What the case says goes in; exactly what it expects comes out."""
    case = load(path)
    assert case.get("describe"), "a case says what it shows"
    agent = _agent(path, case)
    if "looks" in case:
        await _looks(agent, case)
    else:
        await _considers(agent, case)


async def _looks(agent: Agent, case: dict[str, Any]) -> None:
    """A source looked at several times; each look expects its observations. A repeated look says nothing new."""
    baseline: JSON = None
    tables: dict[str, Any] = {}
    held: dict[str, JSON] = {}
    for number, look in enumerate(case["looks"], 1):
        if "tables" in look:
            tables = look["tables"]
        shelf = Shelf(case.get("source", "shop"), {**look, "tables": tables})
        context = ContextAsData({**case.get("context", {}), **look.get("context", {})}, held)
        sensed = await agent.sense(shelf, baseline, context)
        found = [plain(o) for o in sensed.observations]
        assert not (problem := unmatched(look.get("expect", []), found)), f"look {number}:\n{problem}"
        again = await agent.sense(shelf, baseline, context)
        assert [o.key for o in again.observations] == [o.key for o in sensed.observations], "a look made twice"
        baseline = sensed.baseline
        context.hold(sensed.parts)
        if not case.get("settles_later"):
            assert not (await agent.sense(shelf, baseline, context)).observations, "a change is told once"


async def _considers(agent: Agent, case: dict[str, Any]) -> None:
    """Events considered together, and one by one."""
    context = ContextAsData(case.get("context", {}))
    events = happenings(case, agent.name)
    batch = [_named(v) for v in await agent.consider(events, context)]
    assert not (problem := unmatched(case.get("expect", []), batch)), problem
    singly = [_named(v) for event in events for v in await agent.consider([event], context)]
    assert {repr(v) for v in singly} == {repr(v) for v in batch}, "a batch, or one by one, ends the same"
