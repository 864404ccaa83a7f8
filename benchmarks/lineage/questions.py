"""What every contender is asked: cases with edges known beforehand, and queries to be fast on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

CASES = Path(__file__).parents[2] / "tests" / "cases" / "lineage"


@dataclass(frozen=True, slots=True)
class Question:
    """SQL with its schema, and the value edges it has: (target relation, column, source table, column)."""

    name: str
    sql: str
    dialect: str
    schema: dict[str, list[str]]
    default_schema: str = ""
    edges: frozenset[tuple[str, str, str, str]] = field(default=frozenset())

    def as_json(self) -> dict[str, Any]:
        """For another process; without the answer."""
        return {k: v for k, v in asdict(self).items() if k != "edges"}


def folded(edges: set[tuple[str, str, str, str]]) -> frozenset[tuple[str, str, str, str]]:
    """In small letters without quotes: how a contender spells is not what is compared."""
    return frozenset(tuple(part.lower().replace('"', "") for part in edge) for edge in edges)  # type: ignore[misc]


def cases() -> list[Question]:
    """The project's own cases, by what they say must come out."""
    found = []
    for path in sorted((CASES / "sql").glob("*.yaml")):
        for case in YAML(typ="safe").load(path.read_text(encoding="utf-8")):
            edges = {
                (*target.rsplit(".", 1), *source.rsplit(".", 1))
                for target, sources in (case.get("value") or {}).items()
                for source in sources
            }
            question = Question(
                f"{path.stem}: {case['name']}",
                case["sql"],
                case.get("dialect", "duckdb"),
                {table: list(columns) for table, columns in (case.get("schema") or {}).items()},
                case.get("default_schema", ""),
                folded(edges),
            )
            found.append(question)
    return found


TPCH = {
    "region": ["r_regionkey", "r_name"],
    "nation": ["n_nationkey", "n_name", "n_regionkey"],
    "customer": ["c_custkey", "c_name", "c_nationkey", "c_acctbal", "c_mktsegment"],
    "supplier": ["s_suppkey", "s_name", "s_nationkey", "s_acctbal"],
    "part": ["p_partkey", "p_name", "p_type", "p_size", "p_retailprice"],
    "partsupp": ["ps_partkey", "ps_suppkey", "ps_availqty", "ps_supplycost"],
    "orders": [f"o_{c}" for c in "orderkey custkey orderstatus totalprice orderdate orderpriority".split()],  # noqa: SIM905
    "lineitem": [
        f"l_{c}"
        for c in [
            "orderkey",
            "partkey",
            "suppkey",
            "linenumber",
            "quantity",
            "extendedprice",
            "discount",
            "tax",
            "returnflag",
            "linestatus",
            "shipdate",
            "commitdate",
            "receiptdate",
            "shipmode",
        ]
    ],
}


def queries() -> list[Question]:
    """The single queries of the execution cases, and a wide model of many steps."""
    listed = YAML(typ="safe").load((CASES / "execution" / "queries.yaml").read_text(encoding="utf-8"))
    single = [q for q in listed if ";" not in q["sql"]]
    return [*(Question(q["name"], q["sql"], "duckdb", TPCH) for q in single), wide()]


def wide(*, columns: int = 40, steps: int = 8) -> Question:
    """A model as they are found: a chain of expressions, each with many columns made from those before."""
    names = [f"c{n}" for n in range(columns)]
    parts = [f"s0 as (select {', '.join(names)}, k from base where c0 > 0)"]
    for step in range(1, steps + 1):
        made = ", ".join(
            f"case when l.c{n} > r.c{(n + step) % columns} then l.c{n} else coalesce(r.c{n}, 0) end as c{n}"
            for n in range(columns)
        )
        parts.append(f"s{step} as (select {made}, l.k from s{step - 1} l left join base r on r.k = l.k)")
    sql = f"with {', '.join(parts)} select * from s{steps}"
    return Question("a wide model", sql, "duckdb", {"base": [*names, "k"]})
