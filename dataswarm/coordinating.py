"""How the queue, the bus and the database stand: what processes count, and what is wrong. JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any

from memory.connection.database import Transaction
from memory.measuring import counters
from memory.measuring.figures import Figures, Spread
from memory.members.presence import Process
from memory.server.health import health

SILENT_SECONDS = 120.0  # four missed reports
SKIPPED = "dataswarm_events_skipped_total"
COUNTED = ("leases_lost", "agent_leases_lost", "started", "finished", "retried", "gaps", "catch_ups", "received")


async def coordination(tx: Transaction, processes: Sequence[Process]) -> dict[str, Any]:
    """What concerns no agent in particular.

    Keys: claim_seconds and pickup_seconds (number, p50, p99: upper bounds of buckets, None where nothing was
    measured or it took over a minute); leases_lost, agent_leases_lost, started, finished, retried, gaps, catch_ups,
    received (added up over the processes that report, each since its start); deaf (processes no notification
    reaches); events_skipped (by agent, ever); partitions (days made ahead, by table); pinned (who keeps old rows,
    the oldest of each kind); tables (hot ones); troubles (kind, what, hint).
    """
    there = [p for p in processes if p.silent_seconds <= SILENT_SECONDS and p.figures]
    figures = [Figures.from_json(p.figures) for p in there]
    found = await health(tx)
    oldest = [pin for kind in dict.fromkeys(p.kind for p in found.pins) if (pin := found.oldest(kind)) is not None]
    return {
        "claim_seconds": _spread([f.claim for f in figures]),
        "pickup_seconds": _spread([f.pickup for f in figures]),
        **{name: sum(getattr(f, name) for f in figures) for name in COUNTED},
        "deaf": [f"{p.host}:{p.pid}" for p, f in zip(there, figures, strict=True) if not f.listening],
        "events_skipped": {c.labels["agent"]: int(c.value) for c in await counters.all(tx) if c.name == SKIPPED},
        "partitions": found.horizon,
        "pinned": [{**asdict(pin), "is_old": pin.is_old} for pin in oldest],
        "tables": [asdict(table) for table in found.tables],
        "troubles": [asdict(trouble) for trouble in found.troubles],
    }


def _spread(found: Sequence[Spread]) -> dict[str, Any]:
    whole = reduce(Spread.plus, found, Spread())
    return {"number": whole.number, "p50": whole.quantile(0.5), "p99": whole.quantile(0.99)}
