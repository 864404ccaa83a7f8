"""Lineage against DuckDB: perturb a source column, run the query, and exactly the columns named move."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from dataswarm.demo.raw_tables import LOAD_COLUMNS, TABLES
from integrations.lineage import Lineage, columns_of
from tests.unit.integrations.lineage.perturbing import Stage, disagreements, observe, shapes

HERE = Path(__file__).parents[3] / "cases" / "lineage" / "execution"
MODELS = Path(__file__).parents[4] / "dataswarm" / "demo" / "project" / "models"
# The long form runs every query under every change; the default stops at a column once all has moved that should.
IS_THOROUGH = bool(os.environ.get("DATASWARM_TEST_THOROUGH"))


def judge(stage: Stage, scripts: Mapping[str, str]) -> dict[str, list[str]]:
    """Run all and compare; what disagrees, by script."""
    lineages: dict[str, Lineage] = {}
    for name, sql in scripts.items():
        lineages[name] = columns_of(sql, dialect="duckdb", schema=shapes(stage))
        assert not lineages[name].unresolved, name
    seen = observe(stage, scripts, lineages, is_thorough=IS_THOROUGH)
    wrong = {name: disagreements(lineages[name], seen[name]) for name in scripts}
    return {name: said for name, said in wrong.items() if said}


def test_queries_like_those_of_tpch() -> None:
    """Joins, subqueries, windows, recursion, set operations, pivots, arrays, temporary tables that are changed."""
    queries = YAML(typ="safe").load((HERE / "queries.yaml").read_text(encoding="utf-8"))
    assert len(queries) >= 30
    stage = Stage((HERE / "tables.sql").read_text(encoding="utf-8"))
    assert judge(stage, {q["name"]: q["sql"] for q in queries}) == {}


def test_wrong_lineage_is_found_out() -> None:
    """The judge can say no: an edge too many and an edge too few are both seen."""
    stage = Stage((HERE / "tables.sql").read_text(encoding="utf-8"))
    sql = {"q": "select r_name, r_regionkey * 2 as twice from region"}
    right = columns_of(sql["q"], dialect="duckdb", schema=shapes(stage))
    seen = observe(stage, sql, {"q": right}, is_thorough=True)["q"]
    assert disagreements(right, seen) == []
    dropped = next(e for e in right.edges if e.target.column == "twice")
    swapped = dropped._replace(source=dropped.source._replace(column="r_name"))
    said = disagreements(Lineage(right.edges - {dropped} | {swapped}), seen)
    assert any("never did" in s for s in said)
    assert any("does not name" in s for s in said)


def _compiled(path: Path) -> str:
    """A model as dbt compiles it for a first run, its relations by bare names."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\{%\s*if is_incremental\(\)\s*%\}.*?\{%\s*endif\s*%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{\s*ref\('(\w+)'\)\s*\}\}", r"\1", text)
    text = re.sub(r"\{\{\s*source\('\w+',\s*'(\w+)'\)\s*\}\}", r"\1", text)
    return re.sub(r"\{\{.*?\}\}", "", text)


def _shop() -> str:
    """The shop's raw tables with rows that meet one another."""
    made = []
    for table in TABLES.values():
        columns = [_values(number, name, kind) for number, (name, kind) in enumerate(table.columns)]
        columns += [f"i // 9 as {LOAD_COLUMNS[0]}", f"timestamp '2024-02-01' + interval (i) hour as {LOAD_COLUMNS[1]}"]
        made.append(f"create table {table.name} as select {', '.join(columns)} from range(24) t(i);")
    return "".join(made)


def _values(place: int, name: str, kind: str) -> str:
    if place == 0:
        value = "i::int"
    elif name == "quantity":
        value = "(1 + i % 4)::int"
    elif name.endswith("_id"):
        value = "(hash(i * 7) % 20)::int"
    elif name.endswith("region"):
        value = f"'r' || (hash(i * {place + 2}) % 4)"
    elif name == "method":
        value = "case when i % 2 = 0 then 'card' else 'cash' end"
    elif name == "status":
        value = "case when i % 5 = 0 then 'cancelled' else 'done' end"
    elif kind == "integer":
        value = f"(100 + hash(i * {place + 3}) % 900)::int"
    elif kind == "date":
        value = f"date '2024-01-01' + (hash(i * {place + 5}) % 30)::int"
    elif kind == "timestamp":
        value = f"timestamp '2024-01-01' + interval (hash(i * {place + 5}) % 30) day"
    else:
        value = f"'{name}' || (hash(i * {place + 11}) % 6)"
    return f"{value} as {name}"


def _before(model: str, texts: Mapping[str, str]) -> str:
    """Views of everything a model is made from, in order."""
    needed, todo = {model}, [model]
    while todo:
        read = [n for n in texts if n not in needed and re.search(rf"\b(from|join) {n}\b", texts[todo[-1]])]
        todo.pop()
        needed.update(read)
        todo += read
    return "".join(f"create temp view {n} as {texts[n]};" for n in texts if n in needed and n != model)


# In the default suite; the long form runs all. Left joins to one row each, to many, and through two marts.
DEFAULT = (
    "int_order_payments",
    "int_order_totals",
    "int_order_lines",
    "dim_customers",
    "fct_daily_sales",
    "fct_refunds",
)
LAYERS = {"staging": 0, "intermediate": 1, "marts": 2}


@pytest.mark.parametrize("layer", ["intermediate", "marts"])
def test_the_shops_models(layer: str) -> None:
    """From the raw tables to each model, through temporary views of everything before it."""
    files = sorted(MODELS.rglob("*.sql"), key=lambda f: LAYERS[f.parent.name])
    # int_order_totals reads int_order_lines, and fct_daily_sales reads fct_orders: last of their layers.
    files.sort(key=lambda f: (LAYERS[f.parent.name], f.stem in ("int_order_totals", "fct_daily_sales")))
    texts = {f.stem: _compiled(f) for f in files}
    scripts = {}
    for f in files:
        if f.parent.name == layer and (IS_THOROUGH or f.stem in DEFAULT):
            scripts[f.stem] = f"{_before(f.stem, texts)} select * from ({texts[f.stem]}) q"
    assert len(scripts) >= 3
    assert judge(Stage(_shop()), scripts) == {}
