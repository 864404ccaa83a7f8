"""Every case in tests/cases/lineage/sql: what SQL means, written by hand, is what the program says."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.lineage import HOWS
from tests.unit.integrations.lineage.cases import cases, expected, lineage, shown

CASES = dict(cases())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_case(case: dict[str, Any]) -> None:
    """Exactly the edges expected, and exactly the doubts."""
    found = lineage(case)
    for how in HOWS:
        if how != "rows" or how in case:
            assert shown(found.edges, how) == expected(case, how), how
    for number, value in (case.get("each") or {}).items():
        assert shown(found.statements[number - 1].edges, "value") == {t: set(s) for t, s in value.items()}
    said = [u.why for u in found.unresolved]
    wanted = case.get("unresolved", [])
    assert len(said) == len(wanted), said
    assert all(any(w in why for why in said) for w in wanted), said


def test_there_are_cases() -> None:
    """The folder is where it is looked for, and each name stands once."""
    assert len(CASES) > 160
