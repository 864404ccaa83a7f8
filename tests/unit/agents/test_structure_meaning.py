"""What changes mean, whom they reach, and how grave that makes them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.structure.changes import Change
from agents.structure.impact import Impact, Uses, weigh
from agents.structure.known import KnownTable
from agents.structure.meaning import Effect, Meaning, Override, meaning
from agents.structure.rules import KINDS, RULES
from agents.structure.views import following, lineage_of
from integrations.base import Column, Node, Project
from integrations.lineage import ProjectLineage, Schema, manifest, views
from memory.records import Severity

README = Path(__file__).parents[3] / "agents" / "structure" / "README.md"
LATEST = datetime(2026, 3, 2, tzinfo=UTC)


def _change(kind: str, table: str = "raw.orders", column: str = "", **payload: Any) -> Change:
    return Change(kind, table, column, payload)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_change("table_dropped", relation="view"), "breaking/breaking view.dropped"),
        (_change("table_dropped", relation="materialized view"), "data_loss/breaking table.dropped"),
        (_change("column_added", nullable=False, default=False), "compatible/breaking column.added_required"),
        (_change("column_added", nullable=False, default=True), "compatible/compatible column.added"),
        (_change("column_retyped", how="widens"), "risky/compatible column.widened"),
        (_change("column_retyped", how="narrows", aspect="length"), "data_loss/breaking column.narrowed"),
        (_change("column_retyped", how="narrows", aspect="scale"), "data_loss/data_loss column.rounded"),
        (_change("column_retyped", how="other", aspect=""), "breaking/breaking column.retyped"),
        (_change("column_retyped", how="same"), "compatible/compatible column.respelled"),
        (
            _change("column_altered", what="default", before=None, after="1"),
            "compatible/compatible column.default_added",
        ),
        (
            _change("column_altered", what="identity", before="", after="by default"),
            "compatible/compatible column.numbered",
        ),
        (_change("constraint_dropped", constraint="check"), "risky/compatible constraint.dropped"),
        (_change("constraint_dropped", constraint="unique"), "risky/risky key.dropped"),
        (_change("grants_altered", gained=["SELECT"], lost=[]), "compatible/compatible grants.gained"),
        (_change("grants_altered", gained=[], lost=["SELECT", "INSERT"]), "breaking/breaking grants.lost"),
        (_change("grants_altered", gained=[], lost=["TRIGGER"]), "compatible/risky grants.altered"),
        (
            _change("enumeration_altered", what="values", added=["x"], removed=[], renamed=[]),
            "risky/compatible enumeration.value_added",
        ),
    ],
)
def test_classes(change: Change, expected: str) -> None:
    """Each by the rule that is nearest to it; readers first."""
    found = meaning(change)
    assert f"{found.readers}/{found.writers} {found.rule}" == expected
    assert found.why.count(".") >= 2, "a sentence for readers and one for writers"


def test_the_table_is_whole() -> None:
    """Ids are unique and well formed, each kind has a rule of its own, and the README shows exactly these."""
    ids = [rule.id for rule in RULES.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", i) for i in ids)
    assert all(r.for_readers.endswith(".") and r.for_writers.endswith(".") for r in RULES.values())
    shown = re.findall(
        r"^\| `(\w+)` \|.*\| `([a-z_]+\.[a-z_]+)` \| (\w+) \| (\w+) \|$", README.read_text(), re.MULTILINE
    )
    assert sorted(shown) == sorted((kind, r.id, r.readers.value, r.writers.value) for (kind, _, _), r in RULES.items())
    assert set(KINDS) == {kind for kind, *_ in shown}


def test_overrides() -> None:
    """An owner says otherwise for a column, a table or a kind; what comes later goes first, None leaves as it is."""
    change = _change("column_dropped", column="legacy")
    overrides = (
        Override("warehouse://shop/raw.*", "column_*", readers=Effect.RISKY, why="raw is a landing zone"),
        Override("warehouse://shop/raw.orders#legacy", "column.dropped", writers=Effect.COMPATIBLE),
        Override("warehouse://lake/*", "*", readers=Effect.COMPATIBLE),
    )
    assert meaning(change, overrides, source="shop") == Meaning(
        Effect.RISKY, Effect.COMPATIBLE, "column.dropped", "raw is a landing zone"
    )
    assert meaning(change, overrides, source="lake").readers is Effect.COMPATIBLE
    assert meaning(change, overrides, source="other").readers is Effect.DATA_LOSS
    comment = _change("column_altered", column="x", what="comment")
    risky = (Override("*", "column_altered.comment", readers=Effect.RISKY),)
    assert meaning(comment, risky, source="shop").readers is Effect.RISKY


# --- impact --------------------------------------------------------------------------------------------------------


def _raw(kind: str, name: str, code: str = "", needs: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "unique_id": f"{kind}.shop.{name}",
        "resource_type": kind,
        "schema": "raw" if kind == "source" else "marts",
        "identifier": name,
        "alias": name,
        "database": "d",
        "compiled_code": code,
        "depends_on": {"nodes": list(needs)},
        "config": {"materialized": "table"},
    }


def _project() -> tuple[ProjectLineage, Project, datetime]:
    source = "source.shop.orders"
    raw = [
        _raw("model", "stg", "select id, customer_id as cust, amount from raw.orders", (source,)),
        _raw("model", "sums", "select cust, sum(amount) as total from marts.stg group by cust", ("model.shop.stg",)),
        _raw("model", "counted", "select count(note) as n from raw.orders", (source,)),
        _raw("model", "late", "select n from marts.counted", ("model.shop.counted",)),
    ]
    found = {
        "metadata": {"adapter_type": "postgres"},
        "nodes": {r["unique_id"]: r for r in raw},
        "sources": {source: _raw("source", "orders")},
        "exposures": {
            "exposure.shop.board": {
                "unique_id": "exposure.shop.board",
                "depends_on": {"nodes": ["model.shop.sums"]},
            }
        },
    }
    tables = {"raw.orders": ["id", "customer_id", "amount", "note", "unread"]}
    nodes = [
        Node(source, "source", "orders", "raw.orders"),
        *(Node(r["unique_id"], "model", r["alias"], f"marts.{r['alias']}", owner=f"{r['alias']} team") for r in raw),
        Node("exposure.shop.board", "exposure", "board", depends_on=("model.shop.sums",), owner="the board"),
        Node("test.shop.known", "test", "known", depends_on=(source,), test="accepted_values", column="tested"),
    ]
    return manifest(found, tables=tables), Project("shop", "shop", {n.id: n for n in nodes}), LATEST


@pytest.fixture
def uses() -> Uses:
    """A pipeline of four models and an exposure, and a view of the warehouse that another team made."""
    seen = views(
        {"raw.seen": "select amount * 2 as twice from raw.orders"},
        schema=Schema({"raw.orders": ["amount"]}, dialect="postgres"),
    )
    return Uses.of([_project(), (seen, Project("", "shop", {}), None)])


def _other_team() -> tuple[ProjectLineage, Project, datetime | None]:
    """A pipeline of another team, whose one model reads the view."""
    code = "select twice from raw.seen"
    found = {"metadata": {"adapter_type": "postgres"}, "nodes": {"model.shop.stg": _raw("model", "stg", code)}}
    node = Node("model.shop.stg", "model", "stg", "other.stg", owner="another team")
    found["nodes"]["model.shop.stg"]["schema"] = "other"  # type: ignore[index]
    return manifest(found, tables={"raw.seen": ["twice"]}), Project("other", "shop", {node.id: node}), None


def test_impact_of_a_column(uses: Uses) -> None:
    """Who reads this very column, what is made from it, the exposures and owners at the end, and when it last ran."""
    assert uses.impact(_change("column_dropped", column="customer_id"), "shop") == Impact(
        models=("model.shop.stg", "model.shop.sums"),
        columns=("marts.stg#cust", "marts.sums#cust"),
        exposures=("exposure.shop.board",),
        owners=("stg team", "sums team", "the board"),
        last_used=LATEST,
    )
    amount = uses.impact(_change("column_retyped", column="AMOUNT"), "shop")
    assert amount is not None
    assert (amount.models, amount.views) == (("model.shop.stg", "model.shop.sums"), ("raw.seen",))
    assert amount.columns == ("marts.stg#amount", "marts.sums#total", "raw.seen#twice")


def test_impact_of_a_view_that_another_pipeline_reads() -> None:
    """A column reaches through the view what another team makes of it, though its ids are those of the first one."""
    seen = views(
        {"raw.seen": "select amount * 2 as twice from raw.orders"},
        schema=Schema({"raw.orders": ["amount"]}, dialect="postgres"),
    )
    uses = Uses.of([_project(), _other_team(), (seen, Project("", "shop", {}), None)])
    found = uses.impact(_change("column_dropped", column="amount"), "shop")
    assert found is not None
    assert (found.models, found.views) == (("model.shop.stg", "model.shop.sums"), ("raw.seen",))
    assert found.columns == ("marts.stg#amount", "marts.sums#total", "other.stg#twice", "raw.seen#twice")
    assert found.owners == ("another team", "stg team", "sums team", "the board")


def test_impact_where_views_alone_are_known() -> None:
    """Those that read it are told; where none does, nothing is known."""
    seen = views({"v": "select amount from raw.orders"}, schema=Schema({"raw.orders": ["amount"]}, dialect="postgres"))
    uses = Uses.of([(seen, Project("", "shop", {}), None)])
    assert uses.impact(_change("column_dropped", column="amount"), "shop") == Impact(
        views=("v",), columns=("v#amount",), is_whole=False
    )
    assert uses.impact(_change("column_dropped", column="note"), "shop") is None
    assert not uses.is_whole("shop")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("select client_id as customer_id, amount from raw.orders", {"raw.v"}),
        ("select customer_id, amount from raw.orders", set()),
        ("select amount as customer_id, amount from raw.orders", set()),
        ("select customer_id, client_id from raw.orders", set()),
    ],
    ids=["rewritten", "kept", "reads it no more", "reads both"],
)
def test_which_views_follow_a_rename(after: str, expected: set[str]) -> None:
    """Only one whose text names the new name now, and the old one no longer."""
    text = "select customer_id, amount from raw.orders"
    was = lineage_of(_view(text), {"raw.orders": _orders("customer_id")}, "postgres")
    now = lineage_of(_view(after), {"raw.orders": _orders("client_id")}, "postgres")
    change = _change("column_renamed", column="customer_id", before="customer_id", after="client_id")
    assert following(change, was.parts, now.parts, {"raw.v": (text, after)}) == expected
    assert following(_change("column_dropped", column="customer_id"), was.parts, now.parts, {}) == set()


def test_views_that_follow_names_that_were_exchanged() -> None:
    """Both names are there before and after: another text says that the engine rewrote the view."""
    text, after = "select a as x, b as y from raw.t", "select b as x, a as y from raw.t"
    table = {
        "raw.t": replace(
            _orders("a"), name="t", columns=(Column("a", 1, "int", True, None), Column("b", 2, "int", True, None))
        )
    }
    was, now = lineage_of(_view(text), table, "postgres"), lineage_of(_view(after), table, "postgres")
    change = _change("column_renamed", "raw.t", "a", before="a", after="b")
    assert following(change, was.parts, now.parts, {"raw.v": (text, after)}) == {"raw.v"}
    assert following(change, was.parts, was.parts, {"raw.v": (text, text)}) == set()


def _view(text: str) -> dict[str, KnownTable]:
    view = KnownTable("raw", "v", "view", None, -1, (), definition=text)
    return {view.path: view}


def _orders(name: str) -> KnownTable:
    return KnownTable(
        "raw", "orders", "table", None, -1, (Column(name, 1, "int", True, None), Column("amount", 2, "int", True, None))
    )


def test_impact_of_what_is_named_only(uses: Uses) -> None:
    """A model that counts a column fails without it, and so does what is made from the model."""
    found = uses.impact(_change("column_dropped", column="note"), "shop")
    assert found is not None
    assert found.models == ("model.shop.counted", "model.shop.late")
    tested = uses.impact(_change("column_dropped", column="tested"), "shop")
    assert tested is not None
    assert tested.tests == ("test.shop.known",)
    assert tested.is_used


def test_impact_of_a_table(uses: Uses) -> None:
    """Everything that reads any of it."""
    found = uses.impact(_change("table_dropped"), "shop")
    assert found is not None
    assert found.models == ("model.shop.counted", "model.shop.late", "model.shop.stg", "model.shop.sums")
    assert found.views == ("raw.seen",)
    assert uses.impact(_change("table_dropped", "raw.other"), "shop") == Impact()
    assert {u.node for u in uses.readers("shop", "raw.orders", "amount")} == {"model.shop.stg", "raw.seen"}


def test_impact_beside_tables(uses: Uses) -> None:
    """An enumeration reaches what reads the columns of that type, a constraint what reads its columns."""
    used_by = [{"table": "raw.orders", "column": "customer_id"}]
    found = uses.impact(_change("enumeration_altered", "raw.mood", what="values", used_by=used_by), "shop")
    assert found is not None
    assert found.models == ("model.shop.stg", "model.shop.sums")
    key = uses.impact(_change("constraint_dropped", constraint="unique", columns=["unread"]), "shop")
    assert key is not None
    assert not key.is_used
    assert uses.impact(_change("table_dropped"), "lake") is None, "nothing is known of that source"


@pytest.mark.parametrize(
    ("readers", "writers", "impact", "expected"),
    [
        ("data_loss", "breaking", Impact(models=("m",)), (Severity.ERROR, 0.8)),
        ("breaking", "breaking", Impact(exposures=("e",)), (Severity.ERROR, 0.8)),
        ("risky", "compatible", Impact(models=("m",)), (Severity.WARNING, 0.6)),
        ("compatible", "breaking", Impact(models=("m",)), (Severity.WARNING, 0.6)),
        ("compatible", "compatible", Impact(models=("m",)), (Severity.INFO, 0.3)),
        ("data_loss", "breaking", Impact(), (Severity.INFO, 0.3)),
        ("breaking", "breaking", Impact(), (Severity.INFO, 0.3)),
        ("risky", "risky", Impact(), (Severity.INFO, 0.3)),
        ("breaking", "breaking", None, (Severity.WARNING, 0.7)),
        ("breaking", "breaking", Impact(views=("v",)), (Severity.ERROR, 0.8)),
        ("breaking", "breaking", Impact(following=("v",)), (Severity.INFO, 0.3)),
        ("breaking", "breaking", Impact(following=("v",), is_whole=False), (Severity.WARNING, 0.7)),
        ("data_loss", "breaking", None, (Severity.WARNING, 0.7)),
        ("risky", "risky", None, (Severity.INFO, 0.3)),
    ],
)
def test_weights(readers: str, writers: str, impact: Impact | None, expected: tuple[Severity, float]) -> None:
    """Grave where somebody reads it; a note where nobody does; never critical by itself."""
    assert weigh(Meaning(Effect(readers), Effect(writers), "r.r", "why"), impact) == expected
