"""The little statistics a benchmark needs: medians with their spread, percentiles, ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, with the least and the most of them."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """The median, the least and the most.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("no values")
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank); `share` in (0, 1].

    Raises:
        ValueError: there are no values, or the share is out of range.
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values, and a share above 0 and up to 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def advantage(ours: float, theirs: float, better: Better) -> float:
    """How many times better ours is: above 1 we are ahead, whichever way the metric points. Zero against zero is 1."""
    above, below = (ours, theirs) if better == "higher" else (theirs, ours)
    if above == below:
        return 1.0
    return above / below if below else math.inf


def shown(value: float) -> str:
    """A figure for people: three significant digits, thousands apart."""
    if not math.isfinite(value):
        return "∞"
    if abs(value) >= 100:  # noqa: PLR2004 - from here on decimals say nothing
        return f"{value:,.0f}"
    return f"{value:.3g}"
