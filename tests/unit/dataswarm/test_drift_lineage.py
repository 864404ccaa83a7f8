"""`dataswarm lineage ASSET`: what is made from what, as memory holds it, as a tree and as JSON."""

from __future__ import annotations

from config.assets import Asset
from memory.board import lineage
from memory.connection.database import Database
from memory.records import Edge
from tests.unit.dataswarm.program import Program, program

__all__ = ["program"]
ORDERS = Asset("warehouse", "shop", "raw.orders")
STAGE = Asset("warehouse", "shop", "stage.orders")
MODEL = Asset("dbt", "shop_dbt", "model.shop.orders")
MART = Asset("warehouse", "shop", "mart.income")


async def edges(database: Database) -> None:
    """Wholes in a row, and columns beside them for the first step."""
    told = [
        Edge(ORDERS, MODEL, "reads"),
        Edge(MODEL, STAGE, "builds"),
        Edge(STAGE, MART, "reads"),
        Edge(ORDERS.column("amount"), STAGE.column("amount"), "column:value"),
        Edge(ORDERS.column("amount"), MODEL, "column:use"),
    ]
    async with database.transaction() as tx:
        await lineage.replace(tx, "shop_dbt", told)


def test_downstream_of_a_table(program: Program) -> None:
    """All that is made from it, near things above far ones, as a tree."""
    program.seed(edges)
    found = program.json("lineage", str(ORDERS), "--downstream")
    assert "upstream" not in found
    assert set(found["downstream"]["assets"]) >= {str(MODEL), str(STAGE), str(MART)}
    assert {"asset": str(MODEL), "next": str(STAGE)} in found["downstream"]["edges"]
    lines = program("lineage", str(ORDERS), "--downstream").output.splitlines()
    assert lines[lines.index(str(ORDERS)) + 1] == f"└─ {MODEL}"
    assert f"   └─ {STAGE}" in lines
    assert f"      └─ {MART}" in lines


def test_of_a_column(program: Program) -> None:
    """By edges of columns where there are some: the column it becomes stands for its table."""
    program.seed(edges)
    found = program.json("lineage", str(ORDERS.column("amount")), "--downstream")["downstream"]
    assert {"asset": str(ORDERS.column("amount")), "next": str(STAGE.column("amount"))} in found["edges"]
    up = program.json("lineage", str(STAGE.column("amount")), "--upstream")["upstream"]
    assert str(ORDERS.column("amount")) in up["assets"]


def test_both_ways_and_so_far_at_most(program: Program) -> None:
    """Neither direction named is both; a depth ends the walk."""
    program.seed(edges)
    found = program.json("lineage", str(STAGE))
    assert str(MODEL) in found["upstream"]["assets"]
    assert found["downstream"]["assets"] == [str(MART)]
    near = program.json("lineage", str(ORDERS), "--downstream", "--depth", "1")["downstream"]
    assert near["assets"] == [str(MODEL)]


def test_of_what_nobody_told(program: Program) -> None:
    """Nothing known is an answer that says who would tell."""
    said = program("lineage", "warehouse://shop/raw.nothing", "--upstream")
    assert said.exit_code == 0
    assert "a pipeline tells it at its next look" in said.output


def test_refusals(program: Program) -> None:
    """One asset at a time; directions belong to assets; a reference is one."""
    for words, says in (
        ((str(ORDERS), str(MART)), "one asset is asked about at a time"),
        (("orders.sql", "--upstream"), "is no asset"),
        (("ware house://x", "--upstream"), "not an asset reference"),
    ):
        result = program("lineage", *words)
        assert result.exit_code == 2
        assert says in result.stderr
