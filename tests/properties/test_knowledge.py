"""Facts and branches against a model of a few lines, over the real database: any sequence ends as the model says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from config.assets import Asset
from config.errors import ConflictError, UsageError
from memory.beliefs import branches, knowledge
from memory.connection.database import Transaction
from memory.records import Sensitivity
from memory.server.embedded import EmbeddedServer
from tests.memory.sealing import sealing
from tests.properties.ground import TIMES, Ground, ground


def examples(number: int) -> settings:
    """So many examples by default, the same ones each time; more and other ones under `make properties`."""
    return settings(
        phases=[Phase.explicit, Phase.generate] if TIMES == 1 else [Phase.explicit, Phase.generate, Phase.shrink],
        max_examples=number * TIMES,
        deadline=None,
        derandomize=TIMES == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


START = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def loop(server: EmbeddedServer, template: str) -> Iterator[Ground]:
    """A loop with a database of the module's own, which seals."""
    with ground(server, template) as made:
        sealing(made.db)
        yield made


@dataclass
class Line:
    """A branch as the model has it: what it holds, and held when it was forked; predicate → (object, when)."""

    parent: str | None
    held: dict[str, tuple[Any, int]]
    base: dict[str, tuple[Any, int]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    is_open: bool = True

    def says(self) -> dict[str, Any]:
        """Predicate → object."""
        return {predicate: said for predicate, (said, _) in self.held.items()}


PREDICATES, LINES = ("p", "q", "r"), ("main", "one", "two")
RULES = st.sampled_from(["ours", "theirs", "newer", "human"])
WRITES = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(("main", "one")), st.sampled_from(PREDICATES[:2]), st.integers(0, 1)),
    st.tuples(st.just("write"), st.sampled_from(LINES), st.sampled_from(PREDICATES), st.integers(0, 2)),
    st.tuples(st.just("retract"), st.sampled_from(LINES), st.sampled_from(PREDICATES)),
)
OTHERS = st.one_of(
    st.tuples(st.just("fork"), st.just("two"), st.sampled_from(LINES), st.booleans()),
    st.tuples(st.just("fork"), st.just("one"), st.sampled_from(LINES), st.booleans()),
    st.tuples(st.just("merge"), st.sampled_from(LINES[1:]), RULES),
    st.tuples(st.just("drop"), st.just("two")),
    st.tuples(st.just("snapshot"), st.sampled_from(LINES)),
    st.tuples(st.just("back"), st.sampled_from(LINES)),
)
# A start from which something can come of the rest: a few facts, a branch, changes on both of its sides; then anything,
# and a merge at last.
OPERATIONS = st.builds(
    lambda first, sides, rest, rule: [*first, ("fork", "one", "main", False), *sides, *rest, ("merge", "one", rule)],
    st.lists(WRITES, max_size=3),
    st.lists(WRITES, min_size=2, max_size=6),
    st.lists(st.one_of(WRITES, OTHERS), max_size=6),
    RULES,
)


class World:
    """The database and the model, side by side. One example's names are its own; main is shared, its subject is not."""

    def __init__(self, loop: Ground, level: Sensitivity) -> None:
        self.loop, self.level = loop, level
        self.number = next(NUMBERS)
        self.subject = Asset("warehouse", "p", f"t{self.number}")
        self.lines = {"main": Line(None, {})}
        self.points: dict[str, tuple[str, dict[str, tuple[Any, int]]]] = {}
        self.real = {"main": "main"}
        self.moment = 0
        self.forks = itertools.count()

    def name(self, line: str) -> str:
        """A line's name in the database."""
        return self.real[line]

    def do(self, operation: tuple[Any, ...]) -> None:
        """One operation on both; what one refuses the other refuses too."""
        self.moment += 1
        at = START + timedelta(seconds=self.number * 1000 + self.moment)
        self.loop.db.clock = lambda: at
        verb, line, *rest = operation
        if line not in self.lines and verb != "fork":
            return
        self.loop.run(getattr(self, verb)(line, *rest))

    def _tx(self) -> Any:
        return self.loop.db.transaction(clearance=Sensitivity.CONFIDENTIAL)

    async def write(self, line: str, predicate: str, value: int) -> None:
        """Assert, by what was read."""
        model = self.lines[line]
        async with self._tx() as tx:
            held = await knowledge.fact(tx, self.subject, predicate, branch=self.name(line))
            assert (held.object if held else None) == model.says().get(predicate)
            if not model.is_open:
                with pytest.raises(UsageError):
                    await self._assert(tx, line, predicate, value, None)
                return
            if held is not None:
                with pytest.raises(ConflictError):
                    await self._assert(tx, line, predicate, value, held.version + 1)
            await self._assert(tx, line, predicate, value, held.version if held else 0)
        if model.says().get(predicate) != value:
            model.held[predicate] = (value, self.moment)
            model.changed[predicate] = self.moment

    async def _assert(self, tx: Transaction, line: str, predicate: str, value: int, expected: int | None) -> None:
        await knowledge.assert_fact(
            tx,
            "a",
            self.subject,
            predicate,
            value,
            expected=expected,
            branch=self.name(line),
            sensitivity=self.level,
        )

    async def retract(self, line: str, predicate: str) -> None:
        """Hold it no longer."""
        model = self.lines[line]
        async with self._tx() as tx:
            if predicate not in model.held or not model.is_open:
                with pytest.raises(UsageError):
                    await knowledge.retract(tx, "a", self.subject, predicate, reason="x", branch=self.name(line))
                return
            await knowledge.retract(tx, "a", self.subject, predicate, reason="x", branch=self.name(line))
        del model.held[predicate]
        model.changed[predicate] = self.moment

    async def fork(self, line: str, parent: str, of_snapshot: bool) -> None:
        """A new branch under this name, from the tip of another or from its snapshot."""
        if parent not in self.lines or parent == line:
            return
        point = self.points.get(parent)
        if of_snapshot and point is None:
            return
        held = dict(point[1] if of_snapshot and point else self.lines[parent].held)
        changed = dict(self.lines[parent].changed)
        self.real[line] = f"b{self.number}_{next(self.forks)}"
        async with self._tx() as tx:
            at = point[0] if of_snapshot and point else None
            await branches.fork(tx, self.real[line], by="ann", parent=self.name(parent), at=at)
        self.lines[line] = Line(self.name(parent), held, dict(held), changed)
        self.points.pop(line, None)

    async def merge(self, line: str, rule: branches.Rule) -> None:  # noqa: C901 - the model is one piece
        """Into its parent, where that is still under a name here."""
        model = self.lines[line]
        parent = next((name for name, real in self.real.items() if real == model.parent), None)
        if parent is None:
            return
        into = self.lines[parent]
        async with self._tx() as tx:
            if not (model.is_open and into.is_open):
                with pytest.raises(UsageError):
                    await branches.merge(tx, self.name(line), by="ann", rule=rule)
                return
            done = await branches.merge(tx, self.name(line), by="ann", rule=rule)
        base, ours, theirs = ({k: v for k, (v, _) in m.items()} for m in (model.base, into.held, model.held))
        taken, left = [], []
        for predicate in PREDICATES:
            b, o, t = (side.get(predicate) for side in (base, ours, theirs))
            if t in (b, o):
                continue
            if o == b or rule == "theirs":
                taken.append(predicate)
            elif rule == "newer":
                if model.changed[predicate] > into.changed.get(predicate, 0):
                    taken.append(predicate)
            elif rule == "human":
                left.append(predicate)
        assert [conflict.predicate for conflict in done.conflicts] == left
        if left:
            assert done.written == ()
            return
        assert [fact.predicate for fact in done.written] == taken
        for predicate in taken:
            into.changed[predicate] = self.moment
            if predicate in model.held:
                into.held[predicate] = (model.held[predicate][0], self.moment)
            else:
                into.held.pop(predicate, None)
        model.is_open = False

    async def drop(self, line: str) -> None:
        """Close it."""
        async with self._tx() as tx:
            if self.lines[line].is_open:
                await branches.drop(tx, self.name(line))
            else:
                with pytest.raises(UsageError):
                    await branches.drop(tx, self.name(line))
        self.lines[line].is_open = False

    async def snapshot(self, line: str) -> None:
        """Name its tip."""
        name = f"s{self.number}_{self.moment}"
        async with self._tx() as tx:
            await branches.snapshot(tx, name, by="ann", branch=self.name(line))
        self.points[line] = (name, dict(self.lines[line].held))

    async def back(self, line: str) -> None:
        """Back to its snapshot."""
        model, point = self.lines[line], self.points.get(line)
        if point is None:
            return
        to = f"{self.name(line)}@{point[0]}"
        async with self._tx() as tx:
            if not model.is_open:
                with pytest.raises(UsageError):
                    await branches.roll_back(tx, to, by="ann", reason="x")
                return
            written = await branches.roll_back(tx, to, by="ann", reason="x")
        then = {predicate: said for predicate, (said, _) in point[1].items()}
        different = [p for p in PREDICATES if model.says().get(p) != then.get(p)]
        assert [fact.predicate for fact in written] == different
        for predicate in different:
            model.changed[predicate] = self.moment
            model.held.pop(predicate, None)
            if predicate in then:
                model.held[predicate] = (then[predicate], self.moment)

    async def compare(self) -> None:
        """Every line and every point holds what the model says; no version of any history is missing."""
        async with self._tx() as tx:
            for line, model in self.lines.items():
                name = self.name(line)
                facts = await knowledge.facts(tx, subject=self.subject, branch=name)
                assert {fact.predicate: fact.object for fact in facts} == model.says()
                for predicate in PREDICATES:
                    past = [f.version for f in await knowledge.history(tx, self.subject, predicate, branch=name)]
                    assert past == list(range(past[0], past[0] + len(past))) if past else True
                if point := self.points.get(line):
                    found = await branches.diff(tx, f"{name}@{point[0]}", name)
                    mine = {d.predicate: (d.before and d.before.object, d.after and d.after.object) for d in found}
                    then = {predicate: said for predicate, (said, _) in point[1].items()}
                    assert mine == {
                        p: (then.get(p), model.says().get(p)) for p in PREDICATES if then.get(p) != model.says().get(p)
                    }


@examples(50)
@given(operations=OPERATIONS, level=st.sampled_from([Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL]))
def test_any_history_ends_as_the_model_says(
    loop: Ground, operations: list[tuple[Any, ...]], level: Sensitivity
) -> None:
    """Writes, retractions, forks, merges by every rule, roll-backs, drops; open or sealed."""
    world = World(loop, level)
    for operation in operations:
        world.do(operation)
    loop.run(world.compare())


@examples(15)
@given(
    changes=st.lists(st.tuples(st.booleans(), st.sampled_from(PREDICATES), st.integers(0, 2)), max_size=8),
    order=st.randoms(use_true_random=False),
    rule=st.sampled_from(["ours", "theirs"]),
)
def test_a_merge_does_not_depend_on_the_order_of_writing(
    loop: Ground, changes: list[tuple[bool, str, int]], order: Any, rule: branches.Rule
) -> None:
    """The same two sides, written in another order between them, merge into the same."""

    async def merged(sequence: list[tuple[bool, str, int]]) -> dict[str, Any]:
        number = next(NUMBERS)
        subject, name = Asset("warehouse", "m", f"t{number}"), f"m{number}"
        async with loop.db.transaction() as tx:
            await knowledge.assert_fact(tx, "a", subject, "p", 9, expected=0)
            await branches.fork(tx, name, by="ann")
            for on_branch, predicate, value in sequence:
                await knowledge.assert_fact(
                    tx, "a", subject, predicate, value, expected=None, branch=name if on_branch else "main"
                )
            await branches.merge(tx, name, by="ann", rule=rule)
            return {fact.predicate: fact.object for fact in await knowledge.facts(tx, subject=subject)}

    loop.db.clock = lambda: None
    ours = [change for change in changes if not change[0]]
    theirs = [change for change in changes if change[0]]
    mixed: list[tuple[bool, str, int]] = []
    left, right = list(ours), list(theirs)
    while left or right:
        mixed.append((left if left and (not right or order.random() < 0.5) else right).pop(0))
    assert loop.run(merged(ours + theirs)) == loop.run(merged(mixed)) == loop.run(merged(theirs + ours))


@examples(12)
@given(
    writers=st.lists(st.lists(st.booleans(), min_size=1, max_size=4), min_size=2, max_size=6),
    level=st.sampled_from([Sensitivity.INTERNAL, Sensitivity.CONFIDENTIAL]),
)
def test_concurrent_compare_and_swap_loses_nothing(loop: Ground, writers: list[list[bool]], level: Sensitivity) -> None:
    """Writers append to one list, some transactions are rolled back: what was committed is there, in one order."""
    subject = Asset("warehouse", "c", f"t{next(NUMBERS)}")
    loop.db.clock = lambda: None

    class TurnedBackError(Exception):
        pass

    async def write(number: int, commits: list[bool]) -> None:
        for place, is_kept in enumerate(commits):
            while True:
                try:
                    async with loop.db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
                        held = await knowledge.fact(tx, subject, "list")
                        said = [*(held.object if held else []), [number, place]]
                        version = held.version if held else 0
                        await knowledge.assert_fact(tx, "a", subject, "list", said, expected=version, sensitivity=level)
                        if not is_kept:
                            raise TurnedBackError  # noqa: TRY301 - it must leave the transaction
                except ConflictError:
                    continue
                except TurnedBackError:
                    pass
                break

    async def everything() -> None:
        await asyncio.gather(*(write(number, commits) for number, commits in enumerate(writers)))
        async with loop.db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
            past = await knowledge.history(tx, subject, "list")
        kept = [[n, p] for n, commits in enumerate(writers) for p, is_kept in enumerate(commits) if is_kept]
        assert [fact.version for fact in past] == list(range(1, len(kept) + 1))
        assert sorted(past[-1].object if past else []) == sorted(kept)
        for before, after in itertools.pairwise(past):
            assert after.object[:-1] == before.object

    loop.run(everything())
