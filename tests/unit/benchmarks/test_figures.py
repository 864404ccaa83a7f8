"""The statistics of the benchmarks."""

from __future__ import annotations

import math

import pytest

from benchmarks.figures import Spread, advantage, percentile, shown, spread


def test_a_spread_is_the_median_between_the_extremes() -> None:
    """Median, least and most; of two rounds the mean of both."""
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        spread([])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    """The nearest rank, no interpolation."""
    assert percentile([float(n) for n in range(100, 0, -1)], share) == expected


def test_a_percentile_of_nothing_is_refused() -> None:
    """No values, or a share that is none."""
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="percentile"):
        percentile([1.0], 0.0)


def test_an_advantage_is_above_one_whichever_way_the_metric_points() -> None:
    """More a second, or fewer milliseconds; against nothing at all it is without bounds."""
    assert advantage(300, 100, "higher") == 3
    assert advantage(1.0, 4.0, "lower") == 4
    assert advantage(4.0, 1.0, "lower") == 0.25
    assert advantage(0.0, 0.0, "higher") == 1
    assert math.isinf(advantage(5.0, 0.0, "higher"))


@pytest.mark.parametrize(
    ("value", "text"), [(123456.7, "123,457"), (2.7123, "2.71"), (0.0, "0"), (99.95, "100"), (math.inf, "∞")]
)
def test_figures_are_shown_with_three_digits(value: float, text: str) -> None:
    """What people can take in."""
    assert shown(value) == text
