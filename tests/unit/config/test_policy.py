"""Autonomy has an order that is not the alphabet's; windows know nights, weeks and zones."""

from __future__ import annotations

from datetime import UTC, datetime, time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config.policy import WEEK, Autonomy, FreezeWindow

# 2026-11-20 is a Friday.
FRIDAY = datetime(2026, 11, 20, tzinfo=UTC)


def test_autonomy_is_ordered_by_reach() -> None:
    """Observe < propose < act in every comparison, sort and minimum."""
    levels = [Autonomy.OBSERVE, Autonomy.PROPOSE, Autonomy.ACT]
    assert sorted([Autonomy.PROPOSE, Autonomy.ACT, Autonomy.OBSERVE]) == levels
    assert [level.rank for level in levels] == [0, 1, 2]
    for lower, higher in pairwise(levels):
        assert lower < higher
        assert lower <= higher
        assert higher > lower
        assert higher >= lower
        assert not higher < lower
    assert Autonomy.min_of(Autonomy.ACT, None, Autonomy.PROPOSE) is Autonomy.PROPOSE
    assert Autonomy.min_of(None) is Autonomy.min_of() is Autonomy.OBSERVE
    assert {Autonomy.ACT: 1}[Autonomy("act")] == 1


@pytest.mark.parametrize(
    ("window", "day", "hour", "on"),
    [
        (FreezeWindow(days=("fri",), start=time(18), end=time(20)), 20, 18, True),
        (FreezeWindow(days=("fri",), start=time(18), end=time(20)), 20, 20, False),
        (FreezeWindow(days=("fri",), start=time(18), end=time(20)), 21, 19, False),
        (FreezeWindow(days=("fri",), start=time(22), end=time(6)), 20, 23, True),
        (FreezeWindow(days=("fri",), start=time(22), end=time(6)), 21, 5, True),
        (FreezeWindow(days=("fri",), start=time(22), end=time(6)), 21, 23, False),
        (FreezeWindow(days=("fri",), start=time(22), end=time(6)), 20, 5, False),
        (FreezeWindow(days=("fri",)), 20, 13, True),
        (FreezeWindow(days=("fri",)), 21, 0, False),
        (FreezeWindow(days=("sat",), start=time(0), end=time(1), timezone="Europe/Berlin"), 20, 23, True),
    ],
)
def test_windows_cover_the_hours_they_name(window: FreezeWindow, day: int, hour: int, on: bool) -> None:
    """A window past midnight belongs to the day it starts on; the zone is the window's."""
    assert window.covers(FRIDAY.replace(day=day, hour=hour)) is on


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)), st.times(), st.times())  # noqa: DTZ001
def test_a_window_and_its_complement_make_the_day(moment: datetime, start: time, end: time) -> None:
    """Every moment is in exactly one of start-to-end and end-to-start, on all days."""
    if start == end:
        return
    one, other = FreezeWindow(days=WEEK, start=start, end=end), FreezeWindow(days=WEEK, start=end, end=start)
    aware = moment.replace(tzinfo=UTC)
    assert one.covers(aware) is not other.covers(aware)


@pytest.mark.parametrize("wrong", [{"start": 3600}, {"start": "18:00Z"}, {"timezone": "../etc"}, {"days": ()}])
def test_what_is_no_window_is_refused(wrong: dict[str, object]) -> None:
    """Numbers, zoned times, unknown zones, no day at all."""
    with pytest.raises(ValidationError):
        FreezeWindow.model_validate(wrong)
