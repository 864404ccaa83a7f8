"""Controls: what humans hold the swarm back with (kill switch, caps, silences), and changes announced beforehand.

They only ever narrow what the configuration allows. Every row says who and why. Where they cannot be read, the
caller must not write outside: errors are raised, never turned into "nothing is forbidden".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from config.errors import UsageError
from memory import forms
from memory.connection.database import Transaction
from memory.records import Payload, PlannedChange, Silence

Autonomy = Literal["observe", "propose", "act", "paused"]
_AUTONOMY = ("paused", "observe", "propose", "act")
_SCOPE = re.compile(r"^(all|(agent|playbook):[a-z0-9][a-z0-9_-]*|asset:\S.*)$")


@dataclass(frozen=True, slots=True)
class Cap:
    """The most a scope may do. `scope`: `all`, `agent:<name>`, `playbook:<name>` or `asset:<pattern>`."""

    scope: str
    autonomy: str
    by: str
    reason: str
    at: datetime


async def kill_switch(tx: Transaction) -> str | None:
    """Why nothing may be written outside; None while the switch is off."""
    row = await tx.one("kill_switch")
    return row["reason"] if row and row["is_on"] else None


async def set_kill_switch(tx: Transaction, on: bool, by: str, reason: str) -> None:
    """Turn it. Kept for ever: who, when, why.

    Raises:
        UsageError: nobody named, or no reason given.
    """
    await tx.run(
        "set_kill_switch",
        is_on=on,
        by=forms.text(by, "by", required=True),
        reason=forms.text(reason, "reason", required=True),
    )


async def caps(tx: Transaction) -> list[Cap]:
    """Every cap that holds."""
    return [Cap(**row) for row in await tx.all("caps")]


async def set_cap(tx: Transaction, scope: str, autonomy: Autonomy | None, by: str, reason: str) -> None:
    """Cap a scope; None lifts its cap.

    Raises:
        UsageError: not a scope, not an autonomy, or nobody named.
    """
    if not _SCOPE.match(scope):
        raise UsageError(f"not a scope: {scope[:80]!r}", hint="all, agent:<name>, playbook:<name> or asset:<pattern>")
    forms.text(by, "by", required=True)
    if autonomy is None:
        await tx.run("lift_cap", scope=scope)
        return
    if autonomy not in _AUTONOMY:
        raise UsageError(f"not an autonomy: {autonomy!r}", hint=f"one of {', '.join(_AUTONOMY)}")
    await tx.run(
        "set_cap", scope=forms.text(scope, "scope"), autonomy=autonomy, by=by, reason=forms.text(reason, "reason")
    )


async def silences(tx: Transaction) -> list[Silence]:
    """Those that hold now."""
    return [Silence(**row) for row in await tx.all("silences")]


async def silence(tx: Transaction, pattern: str, seconds: float, by: str, reason: str) -> Silence:
    """Mute the assets a pattern covers, for a while.

    Raises:
        UsageError: no pattern, nobody named, or no length of time.
    """
    row = await tx.one(
        "silence",
        pattern=forms.text(pattern, "pattern", required=True),
        seconds=forms.seconds(seconds, "seconds"),
        by=forms.text(by, "by", required=True),
        reason=forms.text(reason, "reason"),
    )
    return Silence(**_there(row))


async def end_silence(tx: Transaction, id: int) -> bool:  # noqa: A002 - the column's name
    """End a silence now; False when it is over already or was never there."""
    return await tx.run("end_silence", id=id) == 1


async def planned(tx: Transaction) -> list[PlannedChange]:
    """Changes announced for now."""
    return [PlannedChange(**row) for row in await tx.all("planned_changes")]


async def plan_change(
    tx: Transaction,
    pattern: str,
    kind: str,
    by: str,
    reason: str,
    starts_at: datetime | None,
    seconds: float,
    remediation_id: int | None = None,
) -> PlannedChange:
    """Announce a change, so that its signs open no incident.

    - pattern: over asset references.
    - kind: pattern over kinds of observations.
    - starts_at: None is now, by the server's clock.

    Raises:
        UsageError: no pattern, nobody named, or no length of time.
    """
    row = await tx.one(
        "plan_change",
        pattern=forms.text(pattern, "pattern", required=True),
        kind=forms.text(kind, "kind", required=True),
        by=forms.text(by, "by", required=True),
        reason=forms.text(reason, "reason"),
        starts_at=starts_at,
        seconds=forms.seconds(seconds, "seconds"),
        remediation_id=remediation_id,
    )
    return PlannedChange(**_there(row))


def _there(row: dict[str, object] | None) -> Payload:
    assert row is not None  # noqa: S101 - INSERT … RETURNING without a condition has one row
    return row
