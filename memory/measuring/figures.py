"""What one process counts of its own coordination: kept in its row of `processes`, so that `status` can show it.

Everything is read from attributes of the parts at work, whatever a part does not count is left at nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from memory.records import Payload

# Upper bounds in seconds of claim and pickup: from half a millisecond, a good pickup, to a lease and more.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


@dataclass(slots=True)
class Spread:
    """How long something took, by buckets: `counts[i]` up to `bounds[i]`, the last beyond them all. Not cumulative."""

    bounds: tuple[float, ...] = BOUNDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Add a measurement, or several alike."""
        self.counts[bisect.bisect_left(self.bounds, seconds)] += times
        self.seconds += seconds * times

    @property
    def number(self) -> int:
        """How many were measured."""
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The bound below which that share of all lies, None where nothing was measured or it lies beyond them all."""
        wanted = share * self.number
        reached = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            reached += count
            if count and reached >= wanted:
                return bound
        return None

    def plus(self, other: Spread) -> Spread:
        """Both together; what has other bounds is left out, for it cannot be added."""
        if other.bounds != self.bounds:
            return self
        counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        return Spread(self.bounds, counts, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process has counted since it started; `listening`: do notifications come through right now?"""

    listening: bool = False
    gaps: int = 0
    catch_ups: int = 0
    received: int = 0
    beats: int = 0
    leases_lost: int = 0
    agent_leases_lost: int = 0
    started: int = 0
    finished: int = 0
    retried: int = 0
    running: int = 0
    claim: Spread = field(default_factory=Spread)
    pickup: Spread = field(default_factory=Spread)

    def to_json(self) -> dict[str, Any]:
        """The form it is stored in."""
        shown = asdict(self)
        for name in ("claim", "pickup"):
            shown[name]["bounds"] = list(shown[name]["bounds"])
        return shown

    @classmethod
    def from_json(cls, stored: Payload) -> Figures:
        """Read the stored form; what an older release did not count is nothing, what a newer one counts is left out."""
        known: dict[str, Any] = {name: stored[name] for name in cls.__slots__ if name in stored}
        for name in ("claim", "pickup"):
            spread = known.get(name)
            if spread is not None:
                known[name] = Spread(tuple(spread["bounds"]), list(spread["counts"]), spread["seconds"])
        return cls(**known)


class Hears(Protocol):
    """What is read of the listener."""

    connected: bool
    gaps: int
    catch_ups: int
    received: int


class Beats(Protocol):
    """What is read of the heartbeat."""

    beats: int
    lost: int


def of(listener: Hears, heartbeat: Beats | None, worker: object | None, agent_leases_lost: int = 0) -> Figures:
    """The figures of a process, from its parts. A worker may count more or less: what it has not is nothing."""
    return Figures(
        listening=listener.connected,
        gaps=listener.gaps,
        catch_ups=listener.catch_ups,
        received=listener.received,
        beats=heartbeat.beats if heartbeat is not None else 0,
        leases_lost=int(getattr(worker, "lost", heartbeat.lost if heartbeat is not None else 0)),
        agent_leases_lost=agent_leases_lost,
        started=int(getattr(worker, "started", 0)),
        finished=int(getattr(worker, "finished", 0)),
        retried=int(getattr(worker, "retried", 0)),
        running=len(getattr(worker, "running", ())),
        claim=_spread(getattr(worker, "claim_seconds", None)),
        pickup=_spread(getattr(worker, "pickup_seconds", None)),
    )


def _spread(counted: Any) -> Spread:
    """From a spread, or from bare counts over the same bounds."""
    if isinstance(counted, Spread):
        return counted
    if isinstance(counted, Sequence) and len(counted) == len(BOUNDS) + 1:
        return Spread(counts=[int(count) for count in counted])
    return Spread()
