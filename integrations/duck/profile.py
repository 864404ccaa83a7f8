"""Counting a relation: rows, nulls, distinct values, and sketches that compare two columns without their values.

The construction is that of every warehouse here: the `k` smallest md5(key || value as text) of a column's distinct
values, so that two columns with the same values have the same sketch, whatever they are called, typed and stored in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.errors import PermanentError
from integrations.base import ColumnProfile, Profile
from integrations.duck.session import Session
from integrations.duck.words import quoted

_LARGEST_SKETCH = 100_000


@dataclass(frozen=True, slots=True)
class Target:
    """What is counted: its quoted name, its columns, and whether it may be sampled (a view may not)."""

    relation: str
    columns: tuple[str, ...]
    is_sampled: bool = True

    def wanted(self, columns: Sequence[str] | None, table: str, source: str) -> tuple[str, ...]:
        """The columns to count, each once; PermanentError names those that are not there."""
        missing = [c for c in columns or () if c not in self.columns]
        if missing:
            raise PermanentError(
                f"warehouse {source}: {table} has no column {', '.join(map(repr, missing))}",
                hint="was it renamed or dropped?",
            )
        return self.columns if columns is None else tuple(dict.fromkeys(columns))


def unknown(table: str, source: str) -> PermanentError:
    """The error for a table that is not there."""
    return PermanentError(f"warehouse {source}: there is no table {table!r}", hint="was it renamed or dropped?")


def read_profile(
    session: Session, target: Target, columns: Sequence[str], *, sketch: int, key: str, limit_rows: int
) -> Profile:
    """Count a relation; one of more than `limit_rows` rows has its nulls sampled and scaled up, and no sketches.

    Rows are counted in any case: DuckDB keeps the number.
    """
    rows = int(session.rows(f"select count(*) as n from {target.relation}")[0]["n"])
    if target.is_sampled and rows > limit_rows > 0:
        percent = 100.0 * limit_rows / rows
        seen, filled = _count(session, target, columns, f" tablesample system ({percent:.6f} percent) repeatable (1)")
        scale = rows / seen if seen else 0.0
        nulls = {c: round((seen - n) * scale) for c, n in zip(columns, filled, strict=True)}
        return Profile(rows, {c: ColumnProfile(nulls=n) for c, n in nulls.items()}, exact=False)
    rows, filled = _count(session, target, columns, "")
    profiles = {}
    for name, count in zip(columns, filled, strict=True):
        distinct, hashes = _sketch(session, target, name, sketch, key) if sketch > 0 else (None, ())
        profiles[name] = ColumnProfile(nulls=rows - count, distinct=distinct, sketch=hashes)
    return Profile(rows, profiles)


def _count(session: Session, target: Target, columns: Sequence[str], sampling: str) -> tuple[int, list[int]]:
    counts = ", ".join(f"count({quoted(c)})" for c in columns)
    row = session.rows(f"select count(*) as n, [{counts}] as filled from {target.relation}{sampling}")[0]
    return row["n"], row["filled"]


def _sketch(session: Session, target: Target, column: str, size: int, key: str) -> tuple[int, tuple[str, ...]]:
    name = quoted(column)
    query = (
        f"select count(*) as n, min(md5($1 || v), {min(size, _LARGEST_SKETCH)}) as hashes"
        f" from (select distinct {name}::varchar as v from {target.relation} where {name} is not null)"
    )
    row = session.rows(query, [key])[0]
    return row["n"], tuple(row["hashes"] or ())
