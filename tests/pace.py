"""How long tests wait, and what they call quick, in the time of the machine they run on, as fast as it is just now."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any

PATIENCE = 180.0
"""Seconds a test waits for what has to come. It ends a test that hangs, and says nothing of how quick anything is."""

_TURNS = 1_000_000
_USUAL_SECONDS = 0.03  # what so many turns take at leisure


def slowness() -> float:
    """How many times as long as usual this process takes for the same work just now; 1 where it is quicker."""
    begun = perf_counter()
    for _ in range(_TURNS):
        pass
    return max(1.0, (perf_counter() - begun) / _USUAL_SECONDS)


def quick(seconds: float) -> float:
    """So many seconds of a machine at leisure, in seconds of this one: a bound that holds for the code alone.

    A machine may be slow, and its cores may be wanted by many, which a moment's work does not always notice.
    """
    waiting = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * slowness() * max(1.0, waiting)


async def until(holds: Callable[[], Any], why: Callable[[], str] | None = None, seconds: float = PATIENCE) -> Any:
    """Ask again and again until an answer, awaited or not, is true, and return it.

    For what nobody announces: a row, a process, a line in a log. `why` tells what there is instead.

    Raises:
        AssertionError: it did not become true in time.
    """
    end = monotonic() + seconds
    while True:
        found = holds()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert monotonic() < end, why() if why else "it did not come true"
        await asyncio.sleep(0.005)
