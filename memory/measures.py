"""What `/metrics` shows of the blackboard: counted from rows, the same on every replica, no sample without rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from memory.board import incidents, totals
from memory.connection.database import Transaction
from memory.finding import embeddings
from memory.measuring import counters
from memory.measuring.histograms import BOUNDS, HISTOGRAMS

WINDOWS: Mapping[str, timedelta | None] = {
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "all": None,
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one moment."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram: `buckets` are cumulative, by upper bound in seconds as Prometheus writes it (`+Inf` last)."""

    name: str
    labels: Mapping[str, str]
    buckets: Mapping[str, float]
    sum: float
    count: float


@dataclass(frozen=True, slots=True)
class Measures:
    """All that comes from rows. Counters are totals over all replicas and all time."""

    counters: tuple[Sample, ...]
    gauges: tuple[Sample, ...]
    histograms: tuple[Histogram, ...]


async def snapshot(tx: Transaction) -> Measures:
    """Everything `/metrics` needs of incidents, remedies, escalations and embeddings."""
    totals = [Sample(total.name, total.labels, total.value) for total in await counters.all(tx)]
    parts = {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}
    return Measures(
        counters=tuple(total for total in totals if total.name not in parts),
        gauges=(*await _incidents(tx), *await _ratios(tx), *await _waiting(tx), *await _embeddings(tx)),
        histograms=tuple(_histograms([total for total in totals if total.name in parts])),
    )


async def _incidents(tx: Transaction) -> list[Sample]:
    return [
        Sample("dataswarm_incidents_open", {"kind": row["kind"], "severity": row["severity"]}, float(row["number"]))
        for row in await tx.all("measure_open_incidents")
    ]


async def _ratios(tx: Transaction) -> list[Sample]:
    found = []
    for window, length in WINDOWS.items():
        resolved = await incidents.ratio(tx, length)
        if resolved["ratio"] is not None:
            found.append(Sample("dataswarm_incident_auto_resolution_ratio", {"window": window}, resolved["ratio"]))
        opened, escalated = await _handed_over(tx, length)
        if opened:
            found.append(Sample("dataswarm_escalation_ratio", {"window": window}, escalated / opened))
    return found


async def _handed_over(tx: Transaction, window: timedelta | None) -> tuple[int, int]:
    """Incidents opened within the window (None: ever), and how many of them went to a human."""
    if window is None:
        total = await totals.read(tx)
        return total.opened, total.escalated
    row = await tx.one("measure_escalation_ratio", seconds=window.total_seconds())
    return (row["incidents"], row["escalated"]) if row else (0, 0)


async def _waiting(tx: Transaction) -> list[Sample]:
    row = await tx.one("measure_waiting") or {}
    return [
        Sample(name, {}, float(row[column]))
        for name, column in (
            ("dataswarm_approvals_pending", "approvals"),
            ("dataswarm_escalations_pending", "escalations"),
            ("dataswarm_silences_active", "silences"),
        )
    ]


async def _embeddings(tx: Transaction) -> list[Sample]:
    found = []
    for model in await embeddings.coverage(tx):
        labels = {"model": model.model}
        found.append(Sample("dataswarm_embeddings_pending", labels, float(model.pending)))
        found.append(Sample("dataswarm_embeddings_failing", labels, float(model.failing)))
        found.append(Sample("dataswarm_embedding_oldest_pending_seconds", labels, model.oldest_pending_seconds or 0.0))
    return found


def _histograms(totals: list[Sample]) -> list[Histogram]:
    """Rows hold each bucket by itself; Prometheus wants them cumulative."""
    found = []
    for name in HISTOGRAMS:
        count = sum(total.value for total in totals if total.name == f"{name}_count")
        if not count:
            continue
        buckets: dict[str, float] = {}
        reached = 0.0
        for bound in (*BOUNDS, "+Inf"):
            reached += sum(
                total.value for total in totals if total.name == f"{name}_bucket" and total.labels["le"] == bound
            )
            buckets[bound] = reached
        together = sum(total.value for total in totals if total.name == f"{name}_sum")
        found.append(Histogram(name, {}, buckets, together, count))
    return found
