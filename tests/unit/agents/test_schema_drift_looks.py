"""What a look costs, what it reads of the baseline, and what it says when very much changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from agents.playbook import NoOptions
from agents.schema_drift import SchemaDrift, SchemaDriftOptions
from agents.schema_drift.baseline import OpenChange
from agents.schema_drift.undoing import opened, turn, undone
from agents.structure.changes import Change
from agents.verdicts import Sensed
from integrations.base import Catalog, Enumeration, Finding, NumberSequence, Structured, Warehouse
from memory.records import JSON, Severity
from tests.cases.reading import ContextAsData, Shelf


class Stamped(Shelf):
    """A shelf that can tell cheaply whether it changed; counts how often its catalog was read."""

    def __init__(self, name: str, options: Any = None) -> None:
        super().__init__(name, options)
        self.stamp = "one"
        self.catalogs = 0
        self.enumerations: tuple[Enumeration, ...] = ()
        self.sequences: tuple[NumberSequence, ...] = ()

    async def fingerprint(self) -> str:
        """What the test says."""
        return self.stamp

    async def catalog(self) -> Catalog:
        """The shelf's, and what stands beside its tables."""
        self.catalogs += 1
        found = await super().catalog()
        beside = repr((self.enumerations, self.sequences))
        return replace(
            found,
            fingerprint=found.fingerprint + beside,
            enumerations=self.enumerations,
            sequences=self.sequences,
        )


@dataclass
class Recording(ContextAsData):
    """A context that remembers which parts were read, and whether hashes were."""

    read: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def parts(self, names: Collection[str] | None = None, *, prefix: str = "") -> Mapping[str, JSON]:
        """Remember what is given."""
        found = await super().parts(names, prefix=prefix)
        self.read.extend(found)
        return found

    async def part_hashes(self) -> Mapping[str, str]:
        """Remember that they were asked for."""
        self.asked.append("hashes")
        return await super().part_hashes()


@dataclass
class Watched:
    """A source, the agent and what it knew last; `context` is that of the last look."""

    shelf: Any
    agent: SchemaDrift = field(default_factory=SchemaDrift)
    baseline: JSON = None
    held: dict[str, JSON] = field(default_factory=dict)
    context: Recording = field(default_factory=Recording)

    async def look(self, minutes: float = 0, **given: Any) -> Sensed:
        """Look, and remember."""
        self.context = Recording({"now": minutes, **given}, self.held)
        sensed = await self.agent.sense(self.shelf, self.baseline, self.context)
        self.baseline = sensed.baseline
        self.context.hold(sensed.parts)
        return sensed


def tables(count: int, columns: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """So many tables."""
    shape = columns or {"id": "integer", "note": "text"}
    return {f"raw.t{n}": {"identity": 100 + n, "columns": dict(shape)} for n in range(count)}


async def test_a_quiet_look_reads_nothing() -> None:
    """With the same cheap fingerprint no catalog and no part is read, and nothing is there to be written."""
    shelf = Stamped("shop", {"tables": tables(3)})
    world = Watched(shelf, SchemaDrift(SchemaDriftOptions(sketch_minutes=30)))
    await world.look()
    before = world.baseline
    sensed = await world.look(5)
    assert (shelf.catalogs, world.context.read, world.context.asked) == (1, [], [])
    assert (sensed.baseline, sensed.parts) == (before, {})


async def test_what_is_due_is_looked_into_all_the_same() -> None:
    """A quiet look takes old sketches anew, reading no more than when each was taken."""
    shelf = Stamped("shop", {"tables": tables(3, {"id": {"type": "integer", "values": "1..9"}})})
    world = Watched(shelf, SchemaDrift(SchemaDriftOptions(sketch_minutes=10, tables_per_look=2)))
    await world.look()
    assert shelf.profiled == ["raw.t0", "raw.t1"]
    sensed = await world.look(1)
    assert shelf.profiled[2:] == ["raw.t2"]
    assert {name.partition("raw")[0] for name in world.context.read} == {"passing:seen:"}
    assert set(sensed.parts) == {"passing:seen:raw.t2", "secret:sketch:raw.t2"}
    await world.look(2)
    assert world.context.read == [], "none is due"
    await world.look(11)
    assert shelf.profiled[3:] == ["raw.t0", "raw.t1"]
    assert shelf.catalogs == 1


async def test_the_catalog_is_read_now_and_then_all_the_same() -> None:
    """A fingerprint that misses something is made up for; one that changed for nothing costs no more than that."""
    shelf = Stamped("shop", {"tables": tables(1)})
    world = Watched(shelf, SchemaDrift(SchemaDriftOptions(whole_minutes=60, sketch_size=0)))
    await world.look()
    shelf.given = {"tables": tables(2)}
    assert not (await world.look(59)).observations
    assert [o.kind for o in (await world.look(61)).observations] == ["schema.table_added"]
    shelf.stamp = "two"
    sensed = await world.look(62)
    assert (shelf.catalogs, sensed.observations, world.context.read) == (3, (), [])
    await world.look(63)
    assert shelf.catalogs == 3


async def test_other_options_make_it_compare_again() -> None:
    """A table that is to be skipped from now on is let go in silence, though the source is as it was."""
    shelf = Stamped("shop", {"tables": tables(2)})
    world = Watched(shelf)
    await world.look()
    world.agent = SchemaDrift(SchemaDriftOptions(skip=("raw.t1",)))
    assert not (await world.look(1)).observations
    assert [name for name in world.held if "t1" in name] == []


async def test_only_what_changed_is_read_and_written() -> None:
    """Of five hundred tables one changed: one part is read, and written."""
    shapes = tables(500)
    shelf = Stamped("shop", {"tables": shapes})
    world = Watched(shelf, SchemaDrift(SchemaDriftOptions(sketch_size=0)))
    await world.look()
    shelf.given = {"tables": {**shapes, "raw.t7": {"identity": 107, "columns": {"id": "bigint", "note": "text"}}}}
    shelf.stamp = "two"
    sensed = await world.look(1)
    assert [o.kind for o in sensed.observations] == ["schema.column_retyped"]
    assert world.context.read == ["table:raw.t7"]
    changed = {name for name, part in sensed.parts.items() if name.startswith("table:")}
    assert changed == {"table:raw.t7"}
    assert sensed.note == "1 column_retyped"


async def test_a_storm_is_told_by_its_worst() -> None:
    """Three hundred changes: a summary, as many as the options say told as ever, all recorded, the rest in silence."""
    shapes = tables(300)
    world = Watched(Shelf("shop", {"tables": shapes}), SchemaDrift(SchemaDriftOptions(storm=10, sketch_size=0)))
    await world.look()
    fewer: dict[str, Any] = {p: {**t, "columns": {"id": "integer"}} for p, t in shapes.items()}
    fewer["raw.t5"] = {"identity": 105, "columns": {"id": "integer", "note": "text", "more": "text"}}
    world.shelf = Shelf("shop", {"tables": fewer})
    sensed = await world.look(1)
    summary, *rest = sensed.observations
    assert (summary.kind, str(summary.subject), summary.severity) == (
        "schema.storm",
        "warehouse://shop",
        Severity.WARNING,
    )
    assert summary.payload["kinds"] == {"schema.column_dropped": 299, "schema.column_added": 1}
    assert summary.payload["tables"]["count"] == 300
    assert len(summary.payload["tables"]["names"]) == 20
    assert len(rest) == 300
    loud = [o for o in rest if o.importance >= 0.2]
    assert len(loud) == 10
    assert {o.kind for o in loud} == {"schema.column_dropped"}
    assert {o.payload["storm"] for o in rest if o.importance < 0.2} == {summary.key}
    assert not (await world.look(2)).observations, "told once"


async def test_what_a_pipeline_builds_is_left_to_its_run() -> None:
    """A relation that is made by code outside the warehouse is known, and nothing of it told."""
    lineage = [["dbt://shop/model.a", "warehouse://shop/raw.t0"]]
    world = Watched(Shelf("shop", {"tables": tables(2)}))
    await world.look()
    world.shelf = Shelf("shop", {"tables": tables(2, {"id": "integer"})})
    sensed = await world.look(1, lineage=lineage)
    assert {o.subject.path for o in sensed.observations} == {"raw.t1"}


async def test_listed_types_and_sequences_are_told_and_a_hidden_schema_keeps_its_own() -> None:
    """A value that went names the columns that use it; what cannot be seen any more is not dropped."""
    shelf = Stamped("shop", {"tables": tables(1, {"state": "raw.state"})})
    shelf.enumerations = (Enumeration("raw", "state", ("new", "paid")), Enumeration("far", "kind", ("a",)))
    shelf.sequences = (NumberSequence("far", "numbers", "bigint"),)
    world = Watched(shelf)
    await world.look()
    shelf.enumerations, shelf.sequences, shelf.stamp = (Enumeration("raw", "state", ("new",)),), (), "two"
    shelf.given = {**shelf.given, "invisible": ["far"]}
    sensed = await world.look(1)
    assert [(o.kind, o.payload["used_by"]) for o in sensed.observations] == [
        ("schema.enumeration_altered", [{"table": "raw.t0", "column": "state"}])
    ]
    shelf.enumerations = (Enumeration("raw", "state", ("new", "paid")), Enumeration("far", "kind", ("a", "b")))
    shelf.sequences, shelf.stamp = (NumberSequence("far", "numbers", "bigint"),), "three"
    shelf.given = {**shelf.given, "invisible": []}
    kinds = [(o.kind, o.subject.path) for o in (await world.look(2)).observations]
    assert kinds == [("schema.restored", "raw.state"), ("schema.enumeration_altered", "far.kind")]


@dataclass
class Declared:
    """Something that has tables and is no warehouse."""

    name: str = "contracts"
    shapes: dict[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = "declared"
    Options: ClassVar[type[BaseModel]] = NoOptions

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> list[Finding]:
        """Always well."""
        return []

    async def catalog(self) -> Catalog:
        """What is declared."""
        return await Shelf(self.name, {"tables": self.shapes}).catalog()


async def test_whatever_has_tables_is_watched() -> None:
    """A source that cannot be queried is compared by its structure alone, and nothing is looked into."""
    source = Declared(shapes=tables(2))
    assert isinstance(source, Structured)
    assert not isinstance(source, Warehouse)
    world = Watched(source)
    await world.look()
    source.shapes = tables(2, {"id": "bigint", "note": "text"})
    told = (await world.look(1)).observations
    assert [(o.kind, o.payload.get("castable")) for o in told] == [("schema.column_retyped", None)] * 2
    assert not (await world.look(2)).observations


# --- undone --------------------------------------------------------------------------------------------------------


def change(kind: str, **payload: Any) -> Change:
    """A change of `raw.a`."""
    return Change(kind, "raw.a", payload.pop("column", ""), payload)


UNDOING = [
    (
        change("column_altered", column="id", what="comment", before="", after="x"),
        change("column_altered", column="id", what="comment", before="x", after=""),
    ),
    (
        change("constraint_dropped", name="k", constraint="unique", columns=["id"], definition="UNIQUE (id)"),
        change("constraint_added", name="k1", constraint="unique", columns=["id"], definition="UNIQUE (id)"),
    ),
    (
        change("index_altered", name="i", what="definition", before="(id)", after="(id, at)", columns=["id"]),
        change("index_altered", name="i", what="definition", before="(id, at)", after="(id)", columns=["id", "at"]),
    ),
    (
        change("grants_altered", role="app", gained=["INSERT"], lost=["SELECT"]),
        change("grants_altered", role="app", gained=["SELECT"], lost=["INSERT"]),
    ),
    (
        change("enumeration_altered", what="values", added=["c"], removed=[], renamed=[["a", "b"]]),
        change("enumeration_altered", what="values", added=[], removed=["c"], renamed=[["b", "a"]]),
    ),
    (
        change("sequence_altered", what="definition", before="bigint", after="integer"),
        change("sequence_altered", what="definition", before="integer", after="bigint"),
    ),
    (
        change("table_altered", what="owner", before="a", after="b"),
        change("table_altered", what="owner", before="b", after="a"),
    ),
]


@pytest.mark.parametrize(("there", "back"), UNDOING, ids=lambda c: str(c.kind))
def test_every_turn_has_one_back(there: Change, back: Change) -> None:
    """Each kind of change of something that stays is taken back by its reverse, and by no other."""
    waiting = opened(there, "k")
    assert waiting is not None
    turned, same = turn(back), turn(there)
    assert turned is not None
    assert same is not None
    assert undone([waiting], {}, [turned]) == [waiting]
    assert undone([waiting], {}, [same]) == []


def test_a_way_back_over_several_steps_closes_all() -> None:
    """From a to b to c and back to a at once: both are closed; from c back to b only the second."""
    first = opened(change("table_altered", what="owner", before="a", after="b"), "1")
    second = opened(change("table_altered", what="owner", before="b", after="c"), "2")
    assert first is not None
    assert second is not None
    steps: list[OpenChange] = [first, second]
    to_a, to_b = (turn(change("table_altered", what="owner", before="c", after=end)) for end in "ab")
    assert to_a is not None
    assert to_b is not None
    assert undone(steps, {}, [to_a]) == steps
    assert undone(steps, {}, [to_b]) == [second]


def test_what_came_is_not_waited_for() -> None:
    """An addition may stay; nobody waits to see it go."""
    added = change("index_added", name="i", columns=["id"], unique=False, definition="(id)")
    assert opened(added, "k") is None
