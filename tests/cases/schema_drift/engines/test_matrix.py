"""Every kind of change on every engine is shown by a case, or there is a reason; README.md holds the tables of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from agents.structure.rules import RULES

HERE = Path(__file__).parent
ENGINES = ("postgres", "sqlite", "duckdb", "mariadb", "clickhouse")
WAYS = ("alter", "recreate", "swap")
PROBES: Mapping[str, tuple[str, ...]] = {
    "customer_id → cust_id": ("customer_id_to_cust_id",),
    "lat → lag": ("lat_to_lag",),
    "swapped names": ("swapped_names",),
    "DECIMAL loses scale": ("decimal_loses_scale",),
    "VARCHAR(50) → TEXT": ("varchar_to_text", "fixed_string_to_string"),
    "NOT NULL without a default": ("added_not_null_without_default", "required_column_swapped_in"),
    "another case": ("other_case",),
    "quoted names": ("quoted_names",),
    "two of one type at once": ("two_of_one_type",),
    "two columns that cannot be told apart": ("two_lookalikes",),
}
_CONSTRAINTS = ("primary_key", "unique", "foreign_key", "check", "exclusion")
_DETAILED = ("table_altered", "column_altered", "constraint_altered", "enumeration_altered", "sequence_altered")
_DETAILED_INDEX = "index_altered"
Shown = dict[str, dict[str, int]]


def _shown() -> Iterator[tuple[str, str, str, str]]:
    """Engine, case, way, and each kind of change that is expected of it."""
    for path in sorted(HERE.glob("*.yaml")):
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        for case in read if isinstance(read, list) else ():
            for engine in case["engines"]:
                said = {**case, **case.get("but", {}).get(engine, {})}
                ways = said.get("by", {"": ""})
                for way in (w for w, after in ways.items() if after is not None):
                    expected = said["expect"]
                    wanted: Any = expected.get(way, expected.get("else")) if isinstance(expected, dict) else expected
                    yield engine, case["name"], way, ""
                    for change in wanted:
                        yield engine, case["name"], way, _kind(change)


def _kind(change: Mapping[str, Any]) -> str:
    kind = str(change["change"])
    if kind in ("constraint_added", "constraint_dropped"):
        return f"{kind} {change['constraint']}"
    what = change.get("what") or ("values" if kind == "enumeration_altered" else "")
    return f"{kind} {what}" if kind in (*_DETAILED, _DETAILED_INDEX) else kind


def _kinds() -> list[str]:
    """Every kind of change that has a rule, with what of it changed."""
    found: dict[str, None] = {}
    for kind, what, _ in RULES:
        if kind in ("constraint_added", "constraint_dropped"):
            found.update(dict.fromkeys(f"{kind} {constraint}" for constraint in _CONSTRAINTS))
        else:
            found[f"{kind} {what}" if what and kind in (*_DETAILED, _DETAILED_INDEX) else kind] = None
    return list(found)


def _tables() -> tuple[str, list[str]]:
    """Both tables as README.md has them, and what is missing or has a reason though there is a case."""
    reasons = yaml.safe_load((HERE / "reasons.yaml").read_text(encoding="utf-8"))
    cases: Shown = defaultdict(lambda: defaultdict(int))
    ways: dict[tuple[str, str], set[str]] = defaultdict(set)
    for engine, case, way, kind in _shown():
        if kind:
            cases[kind][engine] += 1
        ways[case, engine].add(way)
    notes: dict[str, int] = {}
    problems: list[str] = []

    def cell(where: str, count: str, why: str | None) -> str:
        if bool(count) == bool(why):
            problems.append(f"{where}: {'a reason, though there is a case' if why else 'neither a case nor a reason'}")
        return count or f"[{notes.setdefault(str(why), len(notes) + 1)}]"

    lines = [f"| kind of change | {' | '.join(ENGINES)} |", "|---" * (len(ENGINES) + 1) + "|"]
    for kind in _kinds():
        whys = reasons["kinds"].get(kind, {})
        cells = [cell(f"{kind} on {e}", str(cases[kind][e] or ""), whys.get(e)) for e in ENGINES]
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
    lines += ["", f"| probe | {' | '.join(ENGINES)} |", "|---" * (len(ENGINES) + 1) + "|"]
    for probe, names in PROBES.items():
        row = []
        for engine in ENGINES:
            there = set().union(*(ways[name, engine] for name in names))
            whys = reasons["ways"].get(probe, {}).get(engine, {})
            row.append(
                ", ".join(
                    w + cell(f"{probe} by {w} on {engine}", "" if w not in there else " ", whys.get(w)).rstrip()
                    for w in WAYS
                )
            )
        lines.append(f"| {probe} | {' | '.join(row)} |")
    lines += ["", *(f"{number}. {why}" for why, number in notes.items())]
    return "\n".join(lines), problems


def test_every_kind_is_shown_or_has_a_reason() -> None:
    """No kind of change, and no way of a probe, is left out on an engine without a reason; no reason is stale."""
    _, problems = _tables()
    assert problems == []


def test_the_readme_has_the_tables() -> None:
    """README.md shows the tables as they are now; the message is what belongs there."""
    tables, _ = _tables()
    assert tables in (HERE / "README.md").read_text(encoding="utf-8"), tables
