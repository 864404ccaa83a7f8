"""What was added and is taken away again, and keys that go with another table, on a real PostgreSQL."""

from __future__ import annotations

from typing import Any

from tests.unit.agents.test_schema_drift_live import Watched, watched

__all__ = ["watched"]
_MODEL = "dbt://shop_dbt/model.shop.orders"
UNUSED = {"lineage": [["warehouse://shop/raw.orders#status", _MODEL]]}
"""Somebody reads the source, and neither the new column nor the new table."""


async def told(watched: Watched, context: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """What a look says: kind, subject and payload."""
    found = await watched.look(context)
    return [(o.kind.removeprefix("schema."), str(o.subject).partition("shop/")[2], dict(o.payload)) for o in found]


async def test_an_added_column_that_goes_again_is_undone(watched: Watched) -> None:
    """Told once as added, and once as undone, not as a loss; added another time it is news again."""
    watched.run("alter table raw.orders add fresh int")
    [(kind, subject, added)] = await told(watched, UNUSED)
    assert (kind, subject) == ("column_added", "raw.orders#fresh")
    assert await told(watched, UNUSED) == []
    watched.run("alter table raw.orders drop fresh")
    [(kind, subject, undone)] = await told(watched, UNUSED)
    assert (kind, subject, undone["of"]) == ("restored", "raw.orders#fresh", added["change"])
    watched.run("alter table raw.orders add fresh int")
    assert [(k, s) for k, s, _ in await told(watched, UNUSED)] == [("column_added", "raw.orders#fresh")]


async def test_an_added_table_that_goes_again_is_undone(watched: Watched) -> None:
    """The same for a table, though columns were added to it meanwhile."""
    watched.run("create table raw.trial (a int)")
    [(_, _, added)] = await told(watched, UNUSED)
    watched.run("alter table raw.trial add b int")
    await told(watched, UNUSED)
    watched.run("drop table raw.trial")
    [(kind, subject, undone)] = await told(watched, UNUSED)
    assert (kind, subject, undone["of"]) == ("restored", "raw.trial", added["change"])
    watched.run("create table raw.trial (a int, b int)")
    watched.run("alter table raw.trial drop b")
    assert [k for k, *_ in await told(watched, UNUSED)] == ["table_added"]


async def test_an_added_column_that_somebody_reads_by_now_is_a_loss(watched: Watched) -> None:
    """Its drop is told with its class and whom it reaches, says what it takes back, and waits to be undone."""
    watched.run("alter table raw.orders add fresh int")
    [(_, _, added)] = await told(watched, UNUSED)
    watched.run("alter table raw.orders drop fresh")
    used = {"lineage": [["warehouse://shop/raw.orders#fresh", _MODEL]]}
    [(kind, _, dropped)] = await told(watched, used)
    assert kind == "column_dropped"
    assert dropped["undoes"] == added["change"]
    assert dropped["class"]["readers"] == "data_loss"
    assert dropped["impact"]["models"]["names"] == ["model.shop.orders"]
    watched.run("alter table raw.orders add fresh int")
    [(kind, _, back)] = await told(watched, used)
    assert (kind, back["of"]) == ("restored", dropped["change"])


async def test_without_lineage_an_added_column_that_goes_is_a_loss(watched: Watched) -> None:
    """Nobody knows who reads it by now: no loss is called an undoing then."""
    watched.run("alter table raw.orders add fresh int")
    [(_, _, added)] = await told(watched, {})
    watched.run("alter table raw.orders drop fresh")
    [(kind, _, dropped)] = await told(watched, {})
    assert (kind, dropped["undoes"]) == ("column_dropped", added["change"])


async def test_additions_do_not_push_out_what_is_waited_for(watched: Watched) -> None:
    """A drop is still undone after hundreds of additions, and of these the youngest are remembered."""
    watched.run("alter table raw.orders drop tax_cents")
    [(_, _, dropped)] = await told(watched, UNUSED)
    watched.run("create table raw.wide (a int)")
    more = ", ".join(f"add c{number} int" for number in range(600))
    await told(watched, UNUSED)
    watched.run(f"alter table raw.wide {more}")
    await told(watched, UNUSED)
    watched.run("alter table raw.orders add tax_cents integer")
    [(kind, _, back)] = await told(watched, UNUSED)
    assert (kind, back["of"]) == ("restored", dropped["change"])


async def test_keys_that_go_with_another_table_are_told_with_it(watched: Watched) -> None:
    """DROP … CASCADE takes the key of another table along: one finding, which names key, table and columns."""
    watched.run("create table raw.buyers (id int primary key); insert into raw.buyers select generate_series(0, 100)")
    await told(watched, UNUSED)
    watched.run("alter table raw.orders add constraint bought foreign key (customer_id) references raw.buyers")
    assert [k for k, *_ in await told(watched, UNUSED)] == ["constraint_added"]
    watched.run("drop table raw.buyers cascade")
    told_ = [(kind, subject, payload.get("with")) for kind, subject, payload in await told(watched, {})]
    assert told_ == [
        ("table_dropped", "raw.buyers", [{"table": "raw.orders", "name": "bought", "columns": ["customer_id"]}])
    ]


async def test_keys_that_come_with_another_table_are_told_with_it(watched: Watched) -> None:
    """A new table to which others point from the first moment."""
    watched.run(
        "create table raw.buyers (id int primary key); insert into raw.buyers select generate_series(0, 100);"
        "alter table raw.orders add constraint bought foreign key (customer_id) references raw.buyers"
    )
    [(kind, _, added)] = await told(watched, UNUSED)
    assert kind == "table_added"
    assert added["with"] == [{"table": "raw.orders", "name": "bought", "columns": ["customer_id"]}]
