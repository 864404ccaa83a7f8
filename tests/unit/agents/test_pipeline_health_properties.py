"""Whatever happens in whatever order: a batch or one by one, the blackboard ends the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.pipeline_health import PipelineHealth
from agents.verdicts import Begin, Diagnose, Verdict, Wait
from tests.cases.comparing import plain
from tests.cases.reading import ContextAsData, happenings

_MESSAGES = [
    'column "x" does not exist',
    "column a.y does not exist",
    'relation "raw.a" does not exist',
    "operator does not exist: text * integer",
    "deadlock detected",
    "syntax error",
]
_TABLES = ["raw.a", "raw.b"]


@st.composite
def _node(draw: st.DrawFn, number: int) -> dict[str, Any]:
    is_test = draw(st.booleans()) and draw(st.booleans())
    return {
        "id": f"{'test' if is_test else 'model'}.n{number}",
        "kind": "test" if is_test else "model",
        "outcome": "fail" if is_test else "error",
        "message": "Got 2 results" if is_test else draw(st.sampled_from(_MESSAGES)),
    }


@st.composite
def _observation(draw: st.DrawFn, number: int) -> dict[str, Any]:
    at = draw(st.integers(-200, 0))
    table = draw(st.sampled_from(_TABLES))
    column = draw(st.sampled_from(["x", "y"]))
    subject = f"warehouse://shop/{table}"
    common = {"id": number, "at": at}
    changes: dict[str, dict[str, Any]] = {
        "schema.column_renamed": {"table": table, "before": column, "after": "z", "confidence": 0.9},
        "schema.column_dropped": {"table": table, "column": column},
        "schema.column_retyped": {"table": table, "column": column, "before": "integer", "after": "text"},
        "schema.columns_ambiguous": {"table": table, "dropped": ["x", "y"], "added": ["p", "q"], "type": "text"},
        "schema.table_renamed": {"table": table, "before": table, "after": "raw.c", "confidence": 1.0},
        "schema.restored": {"table": table, "what": "schema.column_dropped", "of": f"c{number - 1}"},
    }
    kind = draw(st.sampled_from([*changes, "failed", "failed", "passed"]))
    if kind in changes:
        return {**common, "kind": kind, "subject": subject, "payload": {**changes[kind], "change": f"c{number}"}}
    pipeline = draw(st.sampled_from(["dbt://team", "dbt://other"]))
    payload: dict[str, Any] = {"run": f"r{number}", "warehouse": "shop", "started_at": "2026-03-02T11:00:00+00:00"}
    if kind == "failed":
        nodes = [draw(_node(i)) for i in range(draw(st.integers(1, 3)))]
        payload |= {"nodes": nodes, "depends": {n["id"]: draw(st.sampled_from([_TABLES, ["raw.a"]])) for n in nodes}}
    return {**common, "kind": f"pipeline.{kind}", "subject": pipeline, "payload": payload}


@st.composite
def _worlds(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [draw(_observation(number)) for number in range(1, draw(st.integers(1, 6)) + 1)]


class Board:
    """What a runtime would keep: verdicts by key, diagnoses as decisions that superseded ones drop out of."""

    def __init__(self, observations: Sequence[dict[str, Any]]) -> None:
        self.observations = observations
        self.kept: dict[str, Any] = {}
        self.decisions: list[dict[str, Any]] = []

    def context(self) -> ContextAsData:
        """The window on it."""
        return ContextAsData({"observations": self.observations, "decisions": self.decisions})

    def write(self, verdicts: Sequence[Verdict]) -> None:
        """Keys are taken once."""
        for verdict in verdicts:
            key = verdict.task.key if isinstance(verdict, Begin) else getattr(verdict, "key", None)
            assert key, f"{verdict} can be repeated"
            name = f"{type(verdict).__name__}|{key}"
            if name in self.kept and not isinstance(verdict, Wait):
                continue
            self.kept[name] = plain(verdict)
            if isinstance(verdict, Diagnose):
                row = {"id": len(self.decisions) + 1, "subject": str(verdict.subject), "cause": verdict.cause}
                row |= {"confidence": verdict.confidence, "payload": dict(verdict.payload)}
                self.decisions.append(row)


async def _consider(observations: Sequence[dict[str, Any]], batches: Sequence[Sequence[int]]) -> Board:
    board = Board(observations)
    agent = PipelineHealth()
    for batch in batches:
        case = {"context": {"observations": observations}, "events": [{"observation": number} for number in batch]}
        board.write(await agent.consider(happenings(case, agent.name), board.context()))
    return board


@given(_worlds(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_batch_or_one_by_one(observations: list[dict[str, Any]], chance: Any) -> None:
    """The same end state; and taking everything up again adds nothing."""
    numbers = [o["id"] for o in observations]

    async def both() -> None:
        together = await _consider(observations, [numbers])
        singly = await _consider(observations, [[n] for n in numbers])
        assert together.kept == singly.kept
        shuffled = list(numbers)
        chance.shuffle(shuffled)
        anyhow = await _consider(observations, [[n] for n in shuffled])
        assert anyhow.kept == together.kept
        again = await _consider(observations, [[n] for n in (*numbers, *shuffled)])
        assert again.kept == together.kept

    asyncio.run(both())


@given(_worlds())
@settings(max_examples=100, deadline=None)
def test_every_failed_node_is_somebodys_business(observations: list[dict[str, Any]]) -> None:
    """No node of a failed run is forgotten: diagnosed, investigated or waited for; and none is diagnosed twice."""

    async def consider() -> None:
        for failed in (o for o in observations if o["kind"] == "pipeline.failed"):
            board = await _consider(observations, [[failed["id"]]])
            said = [v["payload"]["nodes"] for k, v in board.kept.items() if k.startswith("Diagnose")]
            diagnosed = [n for nodes in said for n in nodes]
            assert len(diagnosed) == len(set(diagnosed))
            tasks = [v["task"] for k, v in board.kept.items() if k.startswith("Begin")]
            looked = {n["id"] for t in tasks for n in t["payload"]["failure"]["nodes"]}
            waits = any(k.startswith("Wait") for k in board.kept)
            for node in failed["payload"]["nodes"]:
                assert node["id"] in diagnosed or node["id"] in looked or waits

    asyncio.run(consider())
