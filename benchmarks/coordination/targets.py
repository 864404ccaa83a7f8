"""What is measured and what must be reached; and what the peers reached elsewhere, to notice a badly run one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from benchmarks.figures import advantage
from benchmarks.report import Row, Target

PEERS = ("procrastinate", "pgqueuer", "dbos", "graphile-worker")
IN_TRANSACTION = "NOTIFY in the transaction"
FIFTEEN = "15 connections"
WRITERS = (1, 8, 32)
LEASE_SECONDS = 15.0
WEAK = 0.7

# The peers on a quiet two-core machine. Ratios between peers travel from machine to machine better than figures do: a
# peer that stands far lower to another than here was run badly, and beating it would prove nothing.
REFERENCE: Mapping[str, Mapping[str, float]] = {
    "enqueue_single": {"procrastinate": 1289, "pgqueuer": 2406, "dbos": 1099, "graphile-worker": 1254},
    "enqueue_batch": {"procrastinate": 18191, "pgqueuer": 64604, "dbos": 1708, "graphile-worker": 61268},
    "drain": {"procrastinate": 839, "pgqueuer": 21123, "dbos": 904, "graphile-worker": 26405},
    "pickup_p50": {"procrastinate": 3.7, "pgqueuer": 2.7, "dbos": 36, "graphile-worker": 2.7},
}

# How long each peer leaves a dead worker's task alone, where that is longer than a benchmark waits.
DOCUMENTED_RECOVERY: Mapping[str, str] = {
    "procrastinate": "by a periodic task of one's own (documented: every 10 min)",
    "dbos": "when the same executor starts again, or by its Conductor",
    "graphile-worker": "4 hours (documented)",
}


def rows(finished: Sequence[int]) -> dict[str, Row]:
    """Every row of the table, empty, in order. `finished`: with how many finished tasks about a drain is taken."""
    listed = [
        Row("enqueue_single", "enqueue, one after another", "1/s", "higher", (Target(1.3, PEERS),)),
        Row("enqueue_batch", "enqueue, batches of 1,000", "1/s", "higher", (Target(2.0, PEERS),)),
        Row(
            "drain", "drain a backlog", "1/s", "higher",
            (Target(2.0, ("graphile-worker",)), Target(2.5, ("pgqueuer",))),
            note="from the first handler to the last durable completion",
        ),
        Row("drain_announced", "… with an event for each", "1/s", "higher"),
        Row("drain_marked", "… with key, subject and limit", "1/s", "higher"),
        Row("drain_marked_share", "… of the plain drain", "", "higher", (Target(0.4),)),
        Row(
            "pickup_p50", "pickup p50", "ms", "lower", (Target(0.75, PEERS),),
            note="two processes, from just before enqueue to the handler's first line",
        ),
        Row("pickup_p99", "pickup p99", "ms", "lower", (Target(0.7, PEERS),)),
        *(
            Row(
                f"publish_{writers}", f"publish with wake-up, {writers} writer{'s' * (writers > 1)}", "1/s", "higher",
                (Target(10.0, (IN_TRANSACTION,)),) if writers == WRITERS[-1] else (),
            )
            for writers in WRITERS
        ),
        Row(
            "publish_swarm", f"… {WRITERS[-1]} writers, 15 agents to wake", "1/s", "higher",
            note="the product's agents share one LISTEN, the others have one each",
        ),
        Row(
            "publish_apart", f"… each in a transaction of its own, {WRITERS[-1]} writers", "1/s", "higher",
            note="as verdicts publish: in the transaction of what the event is about",
        ),
        Row("fanout", "events read by 15 agents", "1/s", "higher", (Target(5.0, (FIFTEEN,)),)),
        Row("fanout_p50", "one event to the last of 15, p50", "ms", "lower"),
        *(Row(f"drain_after_{count}", f"drain with {count:,} finished", "1/s", "higher") for count in finished),
        *(
            [Row("drain_flat", f"… {finished[-1]:,} of {finished[0]:,}", "", "higher", (Target(0.95),))]
            if len(finished) > 1
            else []
        ),
        Row(
            "drain_pinned", "drain with xmin pinned, of that without", "", "higher", (Target(0.9),),
            note="an old snapshot held open in the same database",
        ),
        Row(
            "takeover", "takeover after kill -9", "s", "lower", (Target(LEASE_SECONDS + 1.0),),
            note="a worker waits beside it; each as it is set by default",
        ),
    ]  # fmt: skip
    return {row.metric: row for row in listed}


def weak(found: Mapping[str, Row]) -> list[str]:
    """Peers that stand under 0.7 of what they should to another peer, in words."""
    said = []
    for metric, reference in REFERENCE.items():
        row = found.get(metric)
        if row is None:
            continue
        medians = {name: value.median for name, value in row.spreads().items() if name in reference}
        for name, other in permutations(medians, 2):
            measured = advantage(medians[name], medians[other], row.better)
            expected = advantage(reference[name], reference[other], row.better)
            if measured < WEAK * expected:
                said.append(
                    f"{metric}: {name} reached {measured:.2f}x {other}, where {expected:.2f}x was to be expected"
                )
    return said
