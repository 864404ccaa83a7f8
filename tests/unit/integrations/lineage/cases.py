"""Lineage cases as data, compared with what the program says. Their form is in tests/cases/lineage/README.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from integrations.lineage import HOWS, Edge, Lineage, columns_of

FOLDER = Path(__file__).parents[3] / "cases" / "lineage" / "sql"
KNOWN = {"name", "dialect", "schema", "default_schema", "sql", "unresolved", "each", *HOWS}

Edges = dict[str, set[str]]


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case with a name that says its file."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for case in YAML(typ="safe").load(path.read_text(encoding="utf-8")):
            assert set(case) <= KNOWN, f"{path.name}: unknown {set(case) - KNOWN}"
            yield f"{path.stem}: {case['name']}", case


def lineage(case: Mapping[str, Any]) -> Lineage:
    """What the program says."""
    return columns_of(
        case["sql"],
        dialect=case.get("dialect", "duckdb"),
        schema=case.get("schema", {}),
        default_schema=case.get("default_schema", ""),
    )


def shown(edges: frozenset[Edge], how: str) -> Edges:
    """Target → sources, in the form of the cases."""
    found: Edges = defaultdict(set)
    for source, target, kind in edges:
        if kind == how:
            found[f"{target.relation}.{target.column or '*'}"].add(f"{source.table}.{source.column or '*'}")
    return dict(found)


def expected(case: Mapping[str, Any], how: str) -> Edges:
    """What the case wants, in the same form."""
    return {target: set(sources) for target, sources in (case.get(how) or {}).items()}
