"""Profiles of clean runs, and investigations: counted in a real PostgreSQL, proposed by a scripted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from agents.pipeline_health import PipelineHealth, PipelineHealthOptions
from agents.playbook import Proposal
from agents.verdicts import Assert, Diagnose
from config.errors import TransientError
from integrations.base import Outcome
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.server.embedded import EmbeddedServer
from tests.cases.reading import Shelf
from tests.unit.agents.health_world import Adviser, Line, Workbench, bad, run, sources, task

_SETUP = """
create schema raw;
create schema analytics;
create table raw.orders (order_id integer, customer_id integer, note json, _batch_id text, _loaded_at timestamptz);
alter table raw.orders drop column note;
insert into raw.orders
    select i, 1 + i % 50, 'day-' || i / 100, '2026-01-01'::timestamptz + (i / 100) * interval '1 day'
      from generate_series(0, 999) i;
create view analytics.stg_orders as select order_id, customer_id as customer from raw.orders;
create table analytics.fct_orders as select * from analytics.stg_orders;
"""


class Shop:
    """A small real warehouse behind a line."""

    def __init__(self, url: str) -> None:
        self.url = url
        options = PostgresOptions(url=SecretStr(url), schemas=("raw", "analytics"))
        self.warehouse = PostgresWarehouse("shop", options)
        self.line = Line(last=run(1))

    def run(self, sql: str) -> None:
        """Change it."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql)

    def bench(self, kind: str, payload: Mapping[str, Any], **extra: Any) -> Workbench:
        """A bench for a task."""
        return Workbench(task(kind, payload), sources(self.line, self.warehouse), **extra)

    async def tests(self, *failed: str, options: PipelineHealthOptions | None = None) -> list[Diagnose]:
        """What an investigation of failed tests says."""
        bench = self.bench("investigate", payload_of("tests", self.line, failed))
        return await diagnoses(bench, options)


def payload_of(why: str, line: Line, failed: Sequence[str], **extra: Any) -> dict[str, Any]:
    """An investigation's payload, for nodes of the line."""
    nodes = {n.id: n for n in line.nodes}
    outcome = "fail" if why == "tests" else "error"
    return {
        "pipeline": "team",
        "why": why,
        "observation": 3,
        "failure": {
            "run": "r1",
            "warehouse": "shop",
            "skipped": ["model.later"],
            "nodes": [
                {"id": n, "kind": nodes[n].kind, "outcome": outcome, "test": nodes[n].test, "column": nodes[n].column}
                | {"message": "Got 3 results"}
                for n in failed
            ],
            "depends": {n: ["raw.orders"] for n in failed},
        },
        **extra,
    }


async def diagnoses(bench: Workbench, options: PipelineHealthOptions | None = None) -> list[Diagnose]:
    """What acting says; the same again from the journal alone."""
    agent = PipelineHealth(options)
    first = await agent.act(bench.task, bench)
    assert await agent.act(bench.task, bench) == first, "resumed from the journal"
    return [v for v in first if isinstance(v, Diagnose)]


@pytest.fixture
def shop(server: EmbeddedServer, empty_name: str) -> Shop:
    """One that is well."""
    shop = Shop(server.url_for(database=empty_name))
    shop.run(_SETUP)
    return shop


# --- profiles --------------------------------------------------------------------------------------------------------


async def test_profile(shop: Shop) -> None:
    """Every mart is counted; views are not."""
    bench = shop.bench("profile", {"pipeline": "team", "run": "r1"})
    (fact,) = await PipelineHealth().act(bench.task, bench)
    assert isinstance(fact, Assert)
    assert (str(fact.subject), fact.predicate) == ("warehouse://shop/analytics.fct_orders", "profile.good")
    assert fact.object["rows"] == 1000
    assert fact.object["columns"]["customer"]["nulls"] == 0
    assert fact.object["run"] == "r1"


@pytest.mark.parametrize("passed_on", ["a newer run", "a run in flight"])
async def test_profile_of_a_run_that_is_past(shop: Shop, passed_on: str) -> None:
    """Nothing is asserted of marts that a newer run may have changed."""
    bench = shop.bench("profile", {"pipeline": "team", "run": "r1"})
    if passed_on == "a newer run":
        shop.line.last = run(2, bad("model.fct_orders", "broken"))
    else:
        shop.line.running = [False, True]
    assert list(await PipelineHealth().act(bench.task, bench)) == []


async def test_profile_leaves_out_what_cannot_be_read(shop: Shop) -> None:
    """A mart that is not there has no profile, and the task does not fail."""
    shop.run("drop table analytics.fct_orders")
    bench = shop.bench("profile", {"pipeline": "team", "run": "r1"})
    assert list(await PipelineHealth().act(bench.task, bench)) == []


# --- tests that found rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["_batch_id", "_batch_id || '-retry'"])
async def test_batch_loaded_twice(shop: Shop, label: str) -> None:
    """Two unique tests, one root: the rows of one batch are there twice, but for what the loader adds."""
    shop.run(
        f"insert into raw.orders select order_id, customer_id, {label}, now() from raw.orders where _batch_id = 'day-9'"
    )
    (found,) = await shop.tests("test.unique_order", "test.unique_fct")
    assert (found.cause, str(found.subject)) == ("duplicate_rows", "warehouse://shop/raw.orders#order_id")
    assert found.fingerprint == "team|warehouse://shop/raw.orders"
    assert found.confidence > 0.9
    told = {
        k: found.payload[k] for k in ("table", "key", "keys", "extra", "rows", "batch_column", "batches", "identical")
    }
    assert told == {
        "table": "raw.orders",
        "key": ["order_id"],
        "keys": 100,
        "extra": 100,
        "rows": 1100,
        "batch_column": "_batch_id",
        "batches": 1 if label == "_batch_id" else 2,
        "identical": True,
    }
    assert found.payload["nodes"] == ["test.unique_order", "test.unique_fct"]
    assert found.payload["skipped"] == ["model.later"]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("insert into raw.orders select order_id, 0, 'day-9', now() from raw.orders limit 5", "rows that differ"),
        ("insert into raw.orders select * from raw.orders where order_id % 100 = 1", "spread over 10 batches"),
        ("select 1", "they arise on the way"),
    ],
)
async def test_duplicates_that_are_no_batch(shop: Shop, sql: str, reason: str) -> None:
    """Rows that differ, copies all over, no copies in the source: it says that it cannot tell, and what it counted."""
    shop.run(sql)
    (found,) = await shop.tests("test.unique_order")
    assert found.cause == "unknown"
    assert found.confidence <= 0.3
    assert reason in found.rationale
    assert found.fingerprint == "team|test.unique_order"


async def test_null_keys(shop: Shop) -> None:
    """A renamed column is followed through two models to its source."""
    shop.run("update raw.orders set customer_id = null where order_id in (7, 8, 9)")
    (found,) = await shop.tests("test.customer_there")
    assert (found.cause, str(found.subject)) == ("null_keys", "warehouse://shop/raw.orders#customer_id")
    assert {k: found.payload[k] for k in ("column", "count", "rows")} == {
        "column": "customer_id",
        "count": 3,
        "rows": 1000,
    }


async def test_several_faults_of_one_table_are_one_story(shop: Shop) -> None:
    """Duplicates speak, the nulls stand beside them, a test that counting does not explain stays unknown."""
    shop.run("insert into raw.orders select * from raw.orders where _batch_id = 'day-3'")
    shop.run("update raw.orders set customer_id = null where order_id = 7")
    duplicate, unclear = await shop.tests("test.customer_there", "test.unique_order", "test.related")
    assert duplicate.cause == "duplicate_rows"
    assert duplicate.payload["nodes"] == ["test.customer_there", "test.unique_order"]
    assert [a["cause"] for a in duplicate.payload["also"]] == ["null_keys"]
    assert (unclear.cause, unclear.payload["nodes"]) == ("unknown", ["test.related"])


async def test_without_compiled_code_the_name_decides(shop: Shop) -> None:
    """The one source upstream with a column of that name; less sure, for nothing proves it."""
    from dataclasses import replace  # noqa: PLC0415 - one test's own

    shop.line.nodes = [replace(n, compiled_code="") for n in shop.line.nodes]
    shop.run("update raw.orders set order_id = null where order_id = 7")
    (found,) = await shop.tests("test.order_there")
    assert (found.cause, found.confidence) == ("null_keys", 0.8)
    (found,) = await shop.tests("test.customer_there")
    assert found.cause == "unknown"


async def test_hostile_column_names(shop: Shop) -> None:
    """Names are quoted by the warehouse, percent signs and all."""
    shop.run('alter table raw.orders rename order_id to "; drop table raw.orders; --%s"')
    shop.run("insert into raw.orders select * from raw.orders where _batch_id = 'day-3'")
    from agents.pipeline_health.counting import duplicates  # noqa: PLC0415 - one test's own

    tables = {t.path: t for t in (await shop.warehouse.catalog()).tables}
    found = await duplicates(
        shop.warehouse, tables["raw.orders"], "; drop table raw.orders; --%s", ("_batch_id", "_loaded_at")
    )
    assert (found.keys, found.is_identical) == (100, True)


# --- what cannot be looked into -----------------------------------------------------------------------------------


class Locked(Shelf):
    """A warehouse that is busy just now."""

    async def catalog(self) -> Any:
        """Not now."""
        raise TransientError("the warehouse is busy")


async def test_an_investigation_always_ends_with_a_diagnosis() -> None:
    """A busy warehouse is tried again; at the last attempt, and when refused for good, it says that it cannot tell."""
    line = Line(last=run(1))
    payload = payload_of("tests", line, ["test.unique_order"])
    bench = Workbench(task("investigate", payload), sources(line, Locked("shop")))
    with pytest.raises(TransientError):
        await PipelineHealth().act(bench.task, bench)
    bench.task = task("investigate", payload, attempt=5)
    (found,) = await diagnoses(bench)
    assert (found.cause, found.payload["nodes"]) == ("unknown", ["test.unique_order"])
    missing = Workbench(task("investigate", payload), {"team": line})
    (found,) = await diagnoses(missing)
    assert "no warehouse source 'shop'" in found.rationale


# --- models ----------------------------------------------------------------------------------------------------------

_COLUMNS = {"order_id": "integer", "charge_a": "integer", "charge_b": "integer", "status": "text"}
_DRIFT = {
    "table": "raw.orders",
    "dropped": ["tax", "shipping"],
    "added": ["charge_a", "charge_b"],
    "type": "integer",
    "observations": [11],
}


def _asking(why: str, *answers: Proposal | None, adviser: bool = True, **extra: Any) -> Workbench:
    line = Line(last=run(1, bad("model.stg_orders", 'column "tax" does not exist', Outcome.ERROR)))
    shelf = Shelf("shop", {"tables": {"raw.orders": {"identity": 1, "columns": _COLUMNS}}})
    payload = payload_of(why, line, ["model.stg_orders"], **extra)
    return Workbench(task("investigate", payload), sources(line, shelf), Adviser(list(answers)) if adviser else None)


async def test_ambiguous_columns_without_a_model() -> None:
    """The rules abstain: a diagnosis of low confidence, which carries what is known."""
    (found,) = await diagnoses(_asking("ambiguous", adviser=False, drift=_DRIFT))
    assert (found.cause, found.confidence, found.payload["origin"]) == ("columns_ambiguous", 0.3, "rules")
    assert found.payload["dropped"] == ["tax", "shipping"]
    assert "mapping" not in found.payload
    assert [str(e) for e in found.evidence] == ["observation:3", "observation:11"]


async def test_ambiguous_columns_with_a_model() -> None:
    """The model proposes a mapping of names that exist; it is marked as the model's, with its transcript."""
    answer = Proposal(
        "columns_ambiguous",
        "warehouse://shop/raw.orders",
        0.99,
        "the order of the columns",
        {"mapping": {"tax": "charge_a", "shipping": "charge_b"}, "sql": "drop table raw.orders"},
        ({"answer": "…"},),
    )
    bench = _asking("ambiguous", answer, drift=_DRIFT)
    (found,) = await diagnoses(bench)
    assert found.payload["mapping"] == {"tax": "charge_a", "shipping": "charge_b"}
    assert (found.payload["origin"], found.confidence) == ("model", 0.9)
    assert found.transcript == ({"answer": "…"},)
    assert "sql" not in found.payload, "what the vocabulary does not know is dropped"
    assert bench.reasoner is not None
    assert set(bench.reasoner.offered[0]) == {"columns_ambiguous"}


@pytest.mark.parametrize(
    "mapping",
    [
        {"tax": "secret"},
        {"order_id": "charge_a"},
        {"tax": "charge_a", "shipping": "charge_a"},
        {"tax": ["charge_a"]},
        {},
        "tax=charge_a",
    ],
)
async def test_a_mapping_that_does_not_fit_is_refused(mapping: Any) -> None:
    """Unknown names, one column for two, no mapping at all: the rules' answer stands, the refusal beside it."""
    answer = Proposal("columns_ambiguous", "x", 0.9, "because", {"mapping": mapping}, ({"answer": "…"},))
    (found,) = await diagnoses(_asking("ambiguous", answer, drift=_DRIFT))
    assert (found.confidence, found.payload["origin"]) == (0.3, "rules")
    assert "mapping" not in found.payload
    assert found.alternatives[0]["refused"]
    assert found.transcript


async def test_unexplained_without_and_with_an_abstaining_model() -> None:
    """It cannot be told, and that is said."""
    for bench in (_asking("unexplained", adviser=False), _asking("unexplained", None)):
        (found,) = await diagnoses(bench)
        assert (found.cause, found.confidence, found.payload["messages"]) == ("unknown", 0.2, ["Got 3 results"])


@pytest.mark.parametrize(
    ("cause", "details", "accepted"),
    [
        ("column_renamed", {"table": "raw.orders", "before": "tax", "after": "charge_a"}, True),
        ("column_renamed", {"table": "raw.orders", "before": "tax", "after": "levy"}, False),
        ("column_renamed", {"table": "raw.orders", "before": "status", "after": "charge_a"}, False),
        ("column_renamed", {"table": "raw.users", "before": "tax", "after": "charge_a"}, False),
        ("column_renamed", {"table": "raw.orders", "before": "tax"}, False),
        ("column_dropped", {"table": "raw.orders", "column": "tax"}, True),
        ("column_dropped", {"table": "raw.orders", "column": "status"}, False),
        ("column_retyped", {"table": "raw.orders", "column": "status", "before": "integer", "after": "text"}, True),
        ("column_retyped", {"table": "raw.orders", "column": "status", "before": "text", "after": "integer"}, False),
        ("table_dropped", {"table": "raw.orders"}, False),
        ("table_renamed", {"before": "raw.orders", "after": "raw.sales"}, False),
        ("drop_everything", {"table": "raw.orders"}, False),
    ],
)
async def test_a_models_cause_is_held_against_the_structure(
    cause: str, details: Mapping[str, str], accepted: bool
) -> None:
    """What it names must be there, or gone, as it says; else it is refused, and the answer is unknown."""
    bench = _asking("unexplained", Proposal(cause, "ignored", 0.95, "because", details, ({"a": 1},)))
    (found,) = await diagnoses(bench)
    assert (found.cause, found.payload["origin"]) == ((cause, "model") if accepted else ("unknown", "rules"))
    if accepted:
        assert found.fingerprint == "team|warehouse://shop/raw.orders"
        assert found.confidence <= 0.9
    else:
        assert found.alternatives[0]["refused"]
    assert bench.reasoner is not None
    shown = str(bench.reasoner.shown[0])
    assert "charge_a" in shown
    assert "source('shop', 'orders')" in shown
