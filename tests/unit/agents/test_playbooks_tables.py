"""Compatibility views and quarantine against a real PostgreSQL, as roles with no more than they need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from agents.playbook import Case, Plan, Playbook, Unfit
from agents.playbooks.compatibility_view import CompatibilityView
from agents.playbooks.quarantine_rows import QuarantineRows, QuarantineRowsOptions
from agents.remedy import carry_out, take_back
from agents.verdicts import Act, Open
from config.assets import Asset
from config.errors import PermanentError, SetupError
from integrations.base import Outcome
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.records import RemediationState, Severity
from memory.server.embedded import EmbeddedServer
from tests.unit.agents.blackboard import Board, BoardBench, Crash
from tests.unit.agents.stands import MART, SOURCE, STAGING, UNIQUE, Pipeline, nodes

R = RemediationState
ORDERS = Asset("warehouse", "wh", "raw.orders")
FACT = Asset("warehouse", "wh", "analytics.fct_orders")
ROLES = """
do $$ begin
  if not exists (select from pg_roles where rolname = 'pb_actor') then
    create role pb_loader; create role pb_reader login; create role pb_actor login;
  end if;
end $$;
"""
SHOP = """
create schema raw authorization pb_loader;
create schema analytics;
create schema dataswarm authorization pb_actor;
grant usage on schema raw, analytics to pb_reader, pb_actor;
set role pb_loader;
create table raw.orders (
  order_id integer, "customer %id" text, amount numeric(10, 2) not null, doc json,
  twice numeric generated always as (amount * 2) stored, _batch_id text, _loaded_at timestamptz not null);
insert into raw.orders (order_id, "customer %id", amount, doc, _batch_id, _loaded_at)
  select i, 'c' || i, i, '{"a": 1}', 'b' || (i / 100), now() - interval '1 day' from generate_series(1, 2000) i;
grant select on all tables in schema raw to pb_reader, pb_actor;
grant select, insert, delete on raw.orders to pb_actor;
reset role;
create table analytics.fct_orders as select order_id, amount from raw.orders;
grant select on analytics.fct_orders to pb_reader;
"""


@dataclass
class Shop:
    """The warehouse's database, seen by its superuser."""

    url: str

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run and commit."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str = "raw.orders") -> list[tuple[Any, ...]]:
        """All rows, in an order of their own."""
        return self.run(f"select t::text from {table} t order by 1")

    def load_twice(self, batch: str = "b7", *, count: int = 15) -> None:
        """The loader runs a batch again, later."""
        self.run(
            'insert into raw.orders (order_id, "customer %id", amount, doc, _batch_id, _loaded_at)'
            f' select order_id, "customer %id", amount, doc, _batch_id, now() from raw.orders'
            f" where _batch_id = '{batch}' order by order_id limit {count}"
        )


@pytest.fixture
def shop(server: EmbeddedServer, empty_name: str) -> Shop:
    """A shop with 2000 orders."""
    made = Shop(server.url_for(database=empty_name))
    made.run(ROLES)
    made.run(SHOP)
    return made


@pytest.fixture
async def warehouse(server: EmbeddedServer, empty_name: str, shop: Shop) -> AsyncIterator[PostgresWarehouse]:
    """The shop as the swarm sees it."""
    reader = SecretStr(server.url_for(database=empty_name, user="pb_reader"))
    actor = SecretStr(server.url_for(database=empty_name, user="pb_actor"))
    made = PostgresWarehouse("wh", PostgresOptions(url=reader, actor_url=actor))
    await made.open()
    yield made
    await made.close()


@dataclass
class Desk:
    """A chosen remedy and its bench."""

    bench: BoardBench
    playbook: Playbook
    pipeline: Pipeline
    number: int

    async def case(self) -> Case:
        """As it stands."""
        return await self.bench.case(self.number)

    async def check(self) -> Plan | Unfit:
        """What the playbook says."""
        return await self.playbook.check(await self.case(), self.bench)

    async def why_unfit(self) -> str:
        """Its reason."""
        found = await self.check()
        assert isinstance(found, Unfit), found
        return found.reason

    async def drive(self) -> Any:
        """Carry it out; the remediation at the end."""
        await carry_out(self.number, self.bench)
        return self.bench.board.runs[self.number]


def desk(playbook: Playbook, warehouse: PostgresWarehouse, cause: str, **payload: Any) -> Desk:
    """A case of a cause with a playbook chosen."""
    board, pipeline = Board(), Pipeline()
    given: dict[str, Any] = {"nodes": [UNIQUE], "skipped": [MART], "table": "raw.orders", "subject": ORDERS, **payload}
    diagnosis = board.diagnose(cause, **given)
    opening = Open("f", "a title", cause, Severity.ERROR, ORDERS, board.now, "because")
    board.write([opening, Act("f", diagnosis.id, playbook.name, ORDERS, "because")])
    board.facts[FACT, "profile.good"] = {
        "rows": 2000,
        "columns": {"order_id": {"nulls": 0}, "amount": {"nulls": 0}},
    }
    bench = BoardBench(board, {"shop": pipeline, "wh": warehouse}, {playbook.name: playbook})
    return Desk(bench, playbook, pipeline, next(iter(board.runs)))


# --- compatibility-view --------------------------------------------------------------------------------------------


def bridging(warehouse: PostgresWarehouse, **payload: Any) -> Desk:
    """raw.orders was renamed to raw.sales_orders."""
    given = {"before": "raw.orders", "after": "raw.sales_orders", "nodes": [STAGING], "skipped": [UNIQUE, MART]}
    return desk(CompatibilityView(), warehouse, "table_renamed", **given, **payload)


@pytest.fixture
def renamed(shop: Shop) -> Shop:
    """The table is renamed, and the actor may make views beside it."""
    shop.run("alter table raw.orders rename to sales_orders; grant create on schema raw to pb_actor")
    return shop


async def test_view_in_the_place_of_the_old_name(renamed: Shop, warehouse: PostgresWarehouse) -> None:
    """It gives the same rows, names its owner, incident and end, and is announced as the swarm's own."""
    at = bridging(warehouse)
    run = await at.drive()
    assert run.state is R.VERIFIED
    assert renamed.rows("raw.orders") == renamed.rows("raw.sales_orders")
    ((comment,),) = renamed.run("select obj_description('raw.orders'::regclass)")
    assert comment == f"owner: dataswarm; incident: {run.incident_id}; expires: 2026-12-02"
    assert 'create view "raw"."orders" as select * from "raw"."sales_orders"' in run.plan["preview"]
    assert at.bench.announced[0].expects[0].pattern == "warehouse://wh/raw.orders"
    assert at.pipeline.builds == [((STAGING, UNIQUE, MART), None, False)]
    await take_back(at.number, at.bench)
    assert renamed.run("select to_regclass('raw.orders')") == [(None,)]
    assert len(renamed.rows("raw.sales_orders")) == 2000


@pytest.mark.parametrize("mark", ["do create view", "settle create view", "do rebuild", "settle rebuild", "step apply"])
async def test_view_cut_and_resumed(renamed: Shop, warehouse: PostgresWarehouse, mark: str) -> None:
    """Made once, whatever moment the worker died in."""
    at = bridging(warehouse)
    at.bench.crash_before = mark
    with pytest.raises(Crash):
        await at.drive()
    at.bench.crash_before = ""
    assert (await at.drive()).state is R.VERIFIED
    assert len(renamed.rows("raw.orders")) == 2000


async def test_view_that_does_not_help_is_dropped(renamed: Shop, warehouse: PostgresWarehouse) -> None:
    """The build still fails."""
    at = bridging(warehouse)
    at.pipeline.outcomes = {STAGING: Outcome.ERROR}
    assert (await at.drive()).state is R.UNDONE
    assert renamed.run("select to_regclass('raw.orders')") == [(None,)]


async def test_view_that_others_built_upon_is_not_torn_away(renamed: Shop, warehouse: PostgresWarehouse) -> None:
    """A staging view stands on it: nothing is dropped along; a human decides."""
    at = bridging(warehouse)
    at.pipeline.does = lambda *_: renamed.run("create view analytics.stg as select * from raw.orders")
    at.pipeline.outcomes = {UNIQUE: Outcome.FAIL}
    run = await at.drive()
    assert run.state is R.FAILED
    assert run.result["escalate"].startswith("not_undone: ")
    assert renamed.run("select to_regclass('raw.orders')::text") == [("raw.orders",)]
    renamed.run("drop view analytics.stg")


async def test_view_that_is_no_longer_ours(renamed: Shop, warehouse: PostgresWarehouse) -> None:
    """The producer made something of that name meanwhile: left alone."""
    at = bridging(warehouse)
    await at.drive()
    renamed.run("drop view raw.orders; create view raw.orders as select 1 as mine")
    with pytest.raises(PermanentError, match="left alone"):
        await take_back(at.number, at.bench)
    assert renamed.rows("raw.orders") == [("(1)",)]


async def test_view_where_it_does_not_fit(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """The old name is taken; the new table is not there; the actor may not; no actor at all."""
    assert await bridging(warehouse).why_unfit() == "raw.orders is taken"
    shop.run("alter table raw.orders rename to elsewhere")
    assert await bridging(warehouse).why_unfit() == "raw.sales_orders is not there"
    shop.run("alter table raw.elsewhere rename to sales_orders")
    assert await bridging(warehouse).why_unfit() == "the actor may not create views in raw"
    blind = PostgresWarehouse("wh", warehouse.options.model_copy(update={"actor_url": None}))
    with pytest.raises(SetupError, match="no actor"):
        await bridging(blind).check()
    shop.run("grant create on schema raw to pb_actor")
    at = bridging(warehouse)
    at.pipeline.project_nodes = nodes(mart=replace(nodes()[MART], materialized="incremental"))
    assert isinstance(await at.check(), Plan)  # it was skipped, so it runs for the first time
    board = at.bench.board
    board.decided = [replace(d, payload={**d.payload, "skipped": []}) for d in board.decided]
    assert "would be run twice" in await at.why_unfit()


# --- quarantine-rows -----------------------------------------------------------------------------------------------


def doubled(warehouse: PostgresWarehouse, *, extra: int = 15, **payload: Any) -> Desk:
    """A batch of raw.orders was loaded twice."""
    evidence = {"key": ["order_id"], "keys": extra, "extra": extra, "rows": 2000 + extra, "identical": True}
    given = {"batch_column": "_batch_id", "batches": 1, **evidence, **payload}
    return desk(QuarantineRows(), warehouse, "duplicate_rows", **given)


def keyless(warehouse: PostgresWarehouse, *, count: int = 4) -> Desk:
    """Rows of raw.orders have no order_id."""
    given = {"column": "order_id", "count": count, "rows": 2000 + count}
    return desk(QuarantineRows(), warehouse, "null_keys", **given)


async def test_surplus_rows_are_moved_aside(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """The table is as it was, the surplus is kept with its reason, and all of it can be put back."""
    before = shop.rows()
    shop.load_twice()
    with_surplus = shop.rows()
    at = doubled(warehouse)
    run = await at.drive()
    assert run.state is R.VERIFIED, run.result
    assert shop.rows() == before
    place = f"dataswarm.quarantine_{run.incident_id}_orders"
    assert run.result["to"] == place
    assert shop.run(f"select count(*), min(dataswarm_reason), min(amount) from {place}") == [
        (15, "duplicate_rows", 700)
    ]
    assert run.plan["blast"]["rows"] == 15
    assert run.plan["blast"]["share"] == pytest.approx(15 / 2015)
    assert "Move 15 of 2015 rows of raw.orders aside" in run.plan["summary"]
    assert set(at.pipeline.builds[0][0]) == {STAGING, UNIQUE, MART}
    await take_back(at.number, at.bench)
    assert shop.rows() == with_surplus
    assert shop.run(f"select to_regclass('{place}')") == [(None,)]
    at.bench.board.runs[at.number] = replace(run, state=R.VERIFIED)
    await take_back(at.number, at.bench)
    assert shop.rows() == with_surplus


@pytest.mark.parametrize("mark", ["do move rows", "settle move rows", "do rebuild", "step apply", "advance applied"])
async def test_quarantine_cut_and_resumed(shop: Shop, warehouse: PostgresWarehouse, mark: str) -> None:
    """Moved exactly once, whatever moment the worker died in."""
    before = shop.rows()
    shop.load_twice()
    at = doubled(warehouse)
    at.bench.crash_before = mark
    with pytest.raises(Crash):
        await at.drive()
    at.bench.crash_before = ""
    assert (await at.drive()).state is R.VERIFIED
    assert shop.rows() == before


async def test_quarantine_that_does_not_help_is_put_back(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """The signal stays: every row is back."""
    shop.load_twice()
    before = shop.rows()
    at = doubled(warehouse)
    at.pipeline.outcomes = {UNIQUE: Outcome.FAIL}
    assert (await at.drive()).state is R.UNDONE
    assert shop.rows() == before


async def test_more_gone_than_the_evidence_names(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """The mart lost a row that nobody named: put back."""
    shop.load_twice()
    before = shop.rows()
    at = doubled(warehouse)
    at.pipeline.does = lambda *_: shop.run("delete from analytics.fct_orders where order_id = 1")
    run = await at.drive()
    assert run.state is R.UNDONE
    assert "1999 rows, where 2000 were" in run.result["reason"]
    assert shop.rows() == before


async def test_rows_without_a_key(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """Moved aside; so many rows may be missing from what is made of them, and no more."""
    before = shop.rows()
    shop.run("insert into raw.orders (amount, _loaded_at) select i, now() from generate_series(1, 4) i")
    at = keyless(warehouse)
    at.pipeline.does = lambda *_: shop.run("delete from analytics.fct_orders where order_id <= 4")
    run = await at.drive()
    assert run.state is R.VERIFIED, run.result
    assert shop.rows() == before
    assert run.plan["gone"][str(FACT)] == 4


async def test_rows_that_changed_since_the_evidence(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """Other counts than named: nothing is moved."""
    shop.load_twice()
    assert "15 surplus rows of 15 keys are there now" in await doubled(warehouse, extra=14).why_unfit()
    assert "0 rows without order_id" in await keyless(warehouse).why_unfit()
    assert "surplus rows" in await doubled(warehouse, keys=14).why_unfit()


async def test_rows_that_change_between_check_and_move(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """The count is asserted in the transaction itself: rolled back, checked again, given up."""
    shop.load_twice()
    at = doubled(warehouse)
    original = at.playbook.check
    calls = 0

    async def check(case: Case, bench: Any) -> Plan | Unfit:
        nonlocal calls
        calls += 1
        found = await original(case, bench)
        if calls == 1:
            shop.load_twice("b9", count=1)
        return found

    at.playbook.check = check  # type: ignore[method-assign]
    run = await at.drive()
    assert (run.state, run.result["outcome"]) == (R.FAILED, "conflict")
    assert len(shop.rows()) == 2016
    assert shop.run("select count(*) from pg_class where relname like 'quarantine%'") == [(0,)]


async def test_copies_that_are_not_copies(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """They differ in more than what the loader fills, or the evidence says so: which is right cannot be told."""
    shop.load_twice()
    assert "not copies" in await doubled(warehouse, identical=False).why_unfit()
    shop.run("update raw.orders set amount = amount + 1 where ctid = (select max(ctid) from raw.orders)")
    assert "the rows of 1 keys differ" in await doubled(warehouse).why_unfit()


async def test_too_many_rows(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """Above the share nothing is moved; the share is a setting."""
    shop.load_twice(count=50)
    assert "more than the 1.00% that may be moved" in await doubled(warehouse, extra=50).why_unfit()
    at = doubled(warehouse, extra=50)
    at.playbook = QuarantineRows(QuarantineRowsOptions(max_share=0.05))
    assert isinstance(await at.check(), Plan)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (
            (
                "alter table raw.orders add primary key (order_id);"
                "create table raw.lines (order_id integer references raw.orders on delete cascade)"
            ),
            "other tables refer to raw.orders",
        ),
        ("alter table raw.orders add column dataswarm_reason text", "has a column dataswarm_reason"),
        (
            (
                "create function raw.f() returns trigger language plpgsql as 'begin return null; end';"
                "create trigger t before delete on raw.orders for each row execute function raw.f()"
            ),
            "has triggers",
        ),
        ("alter table raw.orders rename to o; create view raw.orders as select * from raw.o", "not a table"),
        ("drop table raw.orders", "not a table"),
        ("alter table raw.orders rename column order_id to id", "does not name a key"),
    ],
    ids=["referenced", "own column", "trigger", "view", "gone", "key gone"],
)
async def test_entangled_tables(shop: Shop, warehouse: PostgresWarehouse, sql: str, reason: str) -> None:
    """Where moving rows could reach further than asked, it does not fit."""
    shop.run(sql)
    shop.run("grant select on all tables in schema raw to pb_reader, pb_actor")
    assert reason in await doubled(warehouse).why_unfit()


async def test_an_incremental_model_keeps_what_it_took(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """It ran well on the bad rows; moving them from the source does not take them from it."""
    shop.load_twice()
    taken = replace(nodes()[MART], id="model.shop.inc", materialized="incremental", depends_on=(STAGING,))
    at = doubled(warehouse)
    at.pipeline.project_nodes = nodes(inc=taken)
    assert "has taken the rows in already" in await at.why_unfit()


async def test_a_partitioned_table(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """Row places repeat in every partition; the right rows go all the same."""
    shop.run(
        "drop table raw.orders; create table raw.orders (order_id integer, v text, _loaded_at timestamptz)"
        " partition by range (_loaded_at);"
        "create table raw.p1 partition of raw.orders for values from ('2026-01-01') to ('2026-02-01');"
        "create table raw.p2 partition of raw.orders for values from ('2026-02-01') to ('2026-03-01');"
        "insert into raw.orders select i, 'v', '2026-01-05' from generate_series(1, 500) i;"
        "insert into raw.orders values (3, 'v', '2026-02-05'), (4, 'v', '2026-02-05');"
        "grant select, insert, delete on raw.orders to pb_actor; grant select on raw.orders to pb_reader"
    )
    at = doubled(warehouse, extra=2, batch_column=None)
    assert (await at.drive()).state is R.VERIFIED
    assert shop.run("select count(*), count(distinct order_id), max(_loaded_at)::date::text from raw.orders") == [
        (500, 500, "2026-01-05")
    ]


async def test_a_second_quarantine_of_one_incident(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """The place is taken: another name."""
    shop.load_twice()
    at = doubled(warehouse)
    incident = (await at.case()).incident.id
    shop.run(f"create table dataswarm.quarantine_{incident}_orders (x integer)")
    plan = await at.check()
    assert isinstance(plan, Plan)
    assert plan.details["name"] == f"quarantine_{incident}_{at.number}_orders"


async def test_hostile_names(shop: Shop, warehouse: PostgresWarehouse) -> None:
    """A table and a column that would be SQL stay names, in every statement."""
    hostile = 'raw."o""; drop table raw.orders; --"'
    shop.run(
        f'create table {hostile} ("k%s""" integer, "; select 1" text, _loaded_at timestamptz);'
        f"insert into {hostile} select i % 500, $$x$$, now() from generate_series(1, 501) i;"
        "grant select, insert, delete on all tables in schema raw to pb_actor, pb_reader"
    )
    name = 'raw.o"; drop table raw.orders; --'
    at = doubled(warehouse, extra=1, table=name, key=['k%s"'], batch_column=None)
    at.pipeline.project_nodes = nodes(s=replace(nodes()[SOURCE], relation=name))
    run = await at.drive()
    assert run.state is R.VERIFIED, run.result
    assert len(shop.rows()) == 2000
    await take_back(at.number, at.bench)
    ((count,),) = shop.run(f"select count(*) from {hostile}")
    assert count == 501


def test_kinds_of_plans_are_plain() -> None:
    """Both playbooks say what they treat, and that one moves data."""
    listed: Sequence[type[Playbook]] = (CompatibilityView, QuarantineRows)
    assert [(p.causes, p.moves_data) for p in listed] == [
        (("table_renamed",), False),
        (("duplicate_rows", "null_keys"), True),
    ]
