"""What came of a storm, counted from rows: lost, duplicated, stolen, late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Claim = tuple[int, float]  # task, seconds
# Of a lease, which is two seconds on a machine at leisure: how late one may be, and, after PostgreSQL answers again,
# how long everybody may need to come back.
SLACK = 0.5
RECONNECT = 0.5


@dataclass(frozen=True)
class Kill:
    """A worker's end: when, and the tasks it held."""

    at: float
    held: frozenset[int]


@dataclass
class Tally:
    """The counts of a storm.

    Attributes:
        tasks: enqueued.
        faults: how often each was inflicted.
        lost: numbers whose task did not succeed, or whose deed was not done.
        duplicated: numbers whose deed was done, or whose task succeeded, more than once.
        stolen: claims of a task whose lease was still running.
        late: seconds over one and a half leases, by task of a killed worker that was taken over so late (or never).
        slowest: the longest takeover in seconds, outages left out.
        takeovers: tasks of killed workers that were claimed again.
    """

    tasks: int
    faults: Counter[str]
    lost: list[int] = field(default_factory=list)
    duplicated: list[int] = field(default_factory=list)
    stolen: int = 0
    late: dict[int, float] = field(default_factory=dict)
    slowest: float = 0.0
    takeovers: int = 0

    def count(self, numbers: Sequence[int], succeeded: Sequence[int], done: Sequence[int]) -> None:
        """Compare what was ordered with what succeeded and what was done outside."""
        succeeded_times, done_times = Counter(succeeded), Counter(done)
        self.lost = [n for n in numbers if not (succeeded_times[n] and done_times[n])]
        every = set(numbers) | set(succeeded_times) | set(done_times)
        self.duplicated = sorted(n for n in every if succeeded_times[n] > 1 or done_times[n] > 1)

    def measure(
        self,
        kills: Sequence[Kill],
        claims: Sequence[Claim],
        finished: Mapping[int, float],
        outages: Sequence[tuple[float, float]],
        lease_seconds: float,
    ) -> None:
        """How long tasks of killed workers lay about; PostgreSQL's absence, and half a lease more, does not count."""
        slack, reconnecting = SLACK * lease_seconds, RECONNECT * lease_seconds
        for kill in kills:
            for task in kill.held:
                again = [at for id_, at in claims if id_ == task and at > kill.at]
                if not again and task in finished:
                    continue  # it was finishing as the worker died, or the claim was undone by a restart
                end = min(again, default=float("inf"))
                away = sum(max(0.0, min(end, to + reconnecting) - max(kill.at, since)) for since, to in outages)
                took = end - kill.at - away
                self.takeovers += bool(again)
                self.slowest = max(self.slowest, took)
                if took > lease_seconds + slack:
                    self.late[task] = took - lease_seconds - slack

    def __str__(self) -> str:
        inflicted = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.tasks} tasks; {inflicted}; {self.takeovers} takeovers, slowest {self.slowest:.2f} s; "
            f"lost {len(self.lost)}, duplicated {len(self.duplicated)}, stolen {self.stolen}, late {len(self.late)}"
        )
