"""Columns that kept their names and exchanged what they hold: a table made anew with two names swapped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from agents.structure.evidence import Verdict, judge
from agents.structure.known import Content
from agents.structure.types import normal
from integrations.base import Column


def unswapped(
    pairs: Sequence[tuple[Column, Column]], before: Mapping[str, Content], after: Mapping[str, Content]
) -> dict[str, Column]:
    """Old name → the column that holds it now, for columns that changed places among themselves.

    Only where each holds what exactly one other held, all the way round: new values alone are no change of structure.
    """
    suspects: dict[str, list[tuple[Column, Column]]] = defaultdict(list)
    for one, other in pairs:
        if one.name == other.name and judge(before.get(one.name), after.get(one.name), one.type) is Verdict.DIFFERENT:
            suspects[normal(one.type)].append((one, other))
    found: dict[str, Column] = {}
    for alike in suspects.values():
        goes: dict[str, list[Column]] = {
            one.name: [a for _, a in alike if judge(before[one.name], after[a.name], one.type) is Verdict.SAME]
            for one, _ in alike
        }
        sure = {name: columns[0] for name, columns in goes.items() if len(columns) == 1}
        # Closed circles alone: drop whatever leads out of them until nothing does.
        while True:
            arrivals = [column.name for column in sure.values()]
            kept = {n: c for n, c in sure.items() if c.name in sure and arrivals.count(n) == 1}
            if len(kept) == len(sure):
                break
            sure = kept
        found |= sure
    return found


def may_be_swapped(before: Sequence[Column], content: Mapping[str, Content]) -> bool:
    """Are there two columns of one type whose names could have been exchanged, and whose content is known?"""
    types = [normal(c.type) for c in before if c.name in content]
    return len(set(types)) < len(types)
