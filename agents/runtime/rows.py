"""From an event to the row it points to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from memory.beliefs import learnings
from memory.board import approvals, escalations, incidents, ledger, remediations
from memory.connection.database import Transaction
from memory.queue import tasks, timers
from memory.records import Event, Payload


async def _wish(tx: Transaction, timer_id: int) -> Payload | None:
    timer = await timers.get(tx, timer_id)
    return None if timer is None else timer.payload


_READERS: Mapping[str, Callable[[Transaction, int], Awaitable[Any]]] = {
    "observation": ledger.observation,
    "decision": ledger.decision,
    "incident": incidents.get,
    "remediation": remediations.get,
    "approval": approvals.get,
    "escalation": escalations.get,
    "task": tasks.get,
    "learning": learnings.learning,
    "timer": _wish,
}


async def row_of(tx: Transaction, event: Event) -> Any:
    """The record an event names; None where it is gone, above the clearance, or of a noun unknown here."""
    reader = _READERS.get(event.reference.noun)
    return None if reader is None else await reader(tx, event.reference.id)
