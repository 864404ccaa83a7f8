"""Short ways to what several tests of the blackboard need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from config.assets import Asset
from memory.board import incidents, remediations
from memory.connection.database import Database, Transaction
from memory.measuring import counters
from memory.queue import kinds
from memory.queue.kinds import Kind
from memory.records import Incident, IncidentState, Remediation, RemediationState, Severity

ORDERS = Asset.parse("warehouse://shop/raw.orders")
STARTED = datetime(2020, 1, 1, tzinfo=UTC)


# What the agents of the tests can be asked to do; declared in the database that every test's is cloned from.
KINDS = tuple(
    Kind(agent, kind)
    for agent, named in {
        "drift": ("act", "sense"),
        "health": ("act", "sense"),
        "response": ("act",),
        "schema-drift": ("sense",),
        "pipeline-health": ("sense", "investigate", "profile"),
        "incident-response": ("remediate", "undo"),
        "nobody-here": ("remediate",),
        "notifier": ("notify",),
    }.items()
    for kind in named
)


async def declared(url: str, *more: Kind) -> None:
    """Declare these kinds in a database, by its worker's address."""
    database = await Database.open(url, application_name="dataswarm/test", pool_size=1)
    try:
        async with database.transaction() as tx:
            await kinds.declare(tx, more or KINDS)
    finally:
        await database.close()


async def opened(tx: Transaction, **more: Any) -> Incident:
    """An incident as the responder opens it."""
    values = {
        "fingerprint": "orders-broken",
        "title": "orders are broken",
        "kind": "build_failure",
        "severity": Severity.ERROR,
        "subject": ORDERS,
        "owner": "team-shop",
        "started_at": STARTED,
        "by": "incident-response",
        "reason": "a node failed",
        "members": (),
        "details": {},
        **more,
    }
    incident, _ = await incidents.open_or_join(tx, **values)
    return incident


async def proposed(tx: Transaction, incident: Incident, playbook: str = "patch-model") -> Remediation:
    """A remedy for it, proposed."""
    return await remediations.propose(
        tx, incident_id=incident.id, decision_id=1, playbook=playbook, subject=ORDERS, plan={"diff": "+a"}
    )


async def advanced(tx: Transaction, remediation: Remediation, *states: RemediationState) -> Remediation:
    """The remedy taken through these states."""
    for state in states:
        remediation = await remediations.move(tx, remediation.id, before=[remediation.state], after=state)
    return remediation


async def moved(tx: Transaction, incident: Incident, after: IncidentState, **more: Any) -> Incident:
    """The incident taken to a state."""
    return await incidents.move(tx, incident.id, before=incident.state, after=after, by="me", reason="so", **more)


async def counted(tx: Transaction, name: str, **labels: str) -> float:
    """What a counter stands at, over its series with these labels."""
    return sum(
        total.value for total in await counters.all(tx) if total.name == name and labels.items() <= total.labels.items()
    )
