"""Who is there: agents with their one holder among all replicas, and the processes that run them.

A lease is time-limited by the server's clock and carries a random token; the cursor of an agent advances only under
it, in the same transaction as what the agent concluded. Who lost the lease writes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from config.errors import LeaseLostError, UsageError
from memory import bus, forms
from memory.bus import Cursor, now_cursor
from memory.connection.database import Jsonb, Transaction
from memory.records import Payload, Presence, Sensitivity

HINT = "agent:"  # before the name of an agent that was switched off or on


@dataclass(frozen=True, slots=True)
class Skipped:
    """What retention dropped before an agent had read it: how many events it would have heard, published when."""

    number: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class AgentLease:
    """The right to think for an agent until a time of the server's clock. `skipped` waits to be told, by `tell`."""

    agent: str
    holder: UUID
    token: UUID
    cursor: Cursor
    until: datetime
    skipped: Skipped | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """One replica as it last reported; `silent_seconds` since then, by the server's clock.

    `figures` are what it counts itself, as `memory.figures` has them; empty where it reports none.
    """

    process_id: UUID
    host: str
    pid: int
    version: str
    config_fingerprint: str
    agents: tuple[str, ...]
    started_at: datetime
    beat_at: datetime
    silent_seconds: float
    figures: Payload = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Switch:
    """One time an agent was switched off or on for all replicas."""

    at: datetime
    agent: str
    enabled: bool
    by: str
    reason: str


async def enlist(tx: Transaction, agent: str, capabilities: Sequence[Payload], clearance: Sensitivity) -> None:
    """Put an agent into the registry, or bring its row up to date. A new agent reads events from now on.

    Cursors that another cluster left behind are rebased first: this is done before an agent's process publishes.

    Raises:
        UsageError: the name is empty or over 200 characters.
    """
    if not agent or len(agent) > 200:  # noqa: PLR2004 - the column's limit
        raise UsageError("an agent's name has 1 to 200 characters")
    await bus.rebase(tx)
    cursor = await now_cursor(tx)
    await tx.run(
        "enlist_agent",
        agent=agent,
        capabilities=Jsonb([dict(capability) for capability in capabilities]),
        clearance=int(clearance),
        cursor=cursor.to_json(),
    )


async def hold(
    tx: Transaction,
    agent: str,
    *,
    holder: UUID,
    host: str,
    process: str,
    seconds: float,
    topics: Sequence[str] | None = None,
) -> AgentLease | None:
    """Take an agent's lease where nobody has it (any more). None: somebody else does, or it is disabled.

    The same holder gets a new token, and its old one is worth nothing from then on. `topics` is what the agent hears
    (shell patterns), kept with it so that its lag counts nothing else; None leaves what is known.
    """
    await bus.rebase(tx)  # before this sign of life hides how old the cursor is
    row = await tx.one(
        "hold_agent",
        agent=agent,
        holder=holder,
        host=host,
        process=process,
        seconds=seconds,
        hears=None if topics is None else bus.regex(topics),
    )
    if row is None:
        return None
    skipped = Skipped(row["skipped"], row["skipped_from"], row["skipped_till"]) if row["skipped"] else None
    cursor = Cursor.from_json(row["cursor"])
    return AgentLease(row["agent"], row["holder"], row["token"], cursor, row["lease_until"], skipped)


async def tell(tx: Transaction, lease: AgentLease) -> bool:
    """The agent has said what it skipped: forget it. False: the lease is lost, or it skipped more meanwhile."""
    skipped = lease.skipped.number if lease.skipped else 0
    return await tx.run("tell_skipped", agent=lease.agent, token=lease.token, skipped=skipped) == 1


async def renew(tx: Transaction, leases: Sequence[AgentLease], seconds: float) -> list[str]:
    """Renew leases by one statement; the agents still held. What is missing is lost: stop at once."""
    if not leases:
        return []
    ordered = sorted(leases, key=lambda lease: lease.agent)
    rows = await tx.all(
        "renew_agents",
        agents=[lease.agent for lease in ordered],
        tokens=[lease.token for lease in ordered],
        seconds=seconds,
    )
    return sorted(row["agent"] for row in rows)


async def release(tx: Transaction, lease: AgentLease) -> None:
    """Give a lease back, so that another replica need not wait for its end. Nothing happens when it is lost."""
    await tx.run("release_agent", agent=lease.agent, token=lease.token)


async def advance(tx: Transaction, lease: AgentLease, cursor: Cursor) -> None:
    """Move an agent's cursor under its lease.

    The row stays locked until this transaction ends: nobody takes the agent over between check and commit.

    Raises:
        LeaseLostError: the lease expired or went to somebody else; roll back.
    """
    if await tx.run("advance_cursor", agent=lease.agent, token=lease.token, cursor=cursor.to_json()) != 1:
        raise LeaseLostError(f"the lease of the agent {lease.agent} is lost; nothing was written")


async def enable(
    tx: Transaction, agent: str, *, enabled: bool, by: str = "dataswarm", reason: str = ""
) -> Switch | None:
    """Switch an agent off or on for all replicas. Kept for ever: who, when, why. None: it was so already.

    Every process hears of it by a hint; a holder that does not notices at its next renewal, and is refused then.

    Raises:
        UsageError: no agent is called so, nobody is named, or a text that cannot be stored.
    """
    row = await tx.one(
        "enable_agent",
        agent=agent,
        enabled=enabled,
        by=forms.text(by, "by", required=True, longest=200),
        reason=forms.text(reason, "reason", longest=2000),
    )
    if row is not None:
        tx.hint(f"{HINT}{agent}")
        return Switch(**row)
    known = [one["agent"] for one in await tx.all("agent_names")]
    if agent not in known:
        meant = difflib.get_close_matches(agent, known, n=1)
        some = f"known: {', '.join(known)}" if known else "none is known: has the swarm run here?"
        raise UsageError(f"there is no agent {agent[:100]!r}", hint=f"did you mean {meant[0]!r}?" if meant else some)
    return None


async def switched_off(tx: Transaction) -> frozenset[str]:
    """The agents that are switched off for all replicas."""
    return frozenset(row["agent"] for row in await tx.all("agents_switched_off"))


async def last_switches(tx: Transaction) -> dict[str, Switch]:
    """By agent, who switched it last; those nobody ever switched are left out."""
    return {row["agent"]: Switch(**row) for row in await tx.all("last_switches")}


async def switches(tx: Transaction, agent: str, *, limit: int = 50) -> list[Switch]:
    """Who switched an agent, newest first."""
    return [Switch(**row) for row in await tx.all("agent_switches", agent=agent, limit=limit)]


async def all(tx: Transaction) -> list[Presence]:  # noqa: A001 - reads as presence.all(tx)
    """Every enlisted agent.

    `lag` counts events it hears of and has not read, up to 1,000 among the first 5,000 it has not read; whether
    their subjects are in its scope is not looked at.
    """
    return [Presence(**row) for row in await tx.all("all_agents")]


async def beat(
    tx: Transaction,
    process_id: UUID,
    host: str,
    pid: int,
    version: str,
    config_fingerprint: str,
    agents: Sequence[str],
    figures: Payload | None = None,
) -> None:
    """Report that a replica is alive, with which configuration it runs, for which agents, and what it has counted."""
    await tx.run(
        "beat_process",
        process_id=process_id,
        host=host,
        pid=pid,
        version=version,
        config_fingerprint=config_fingerprint,
        agents=list(agents),
        figures=dict(figures or {}),
    )


async def leave(tx: Transaction, process_id: UUID) -> None:
    """A replica ends in good order."""
    await tx.run("leave_process", process_id=process_id)


async def processes(tx: Transaction) -> list[Process]:
    """Every replica that has reported and not left; a silent one is dead, or cut off."""
    return [Process(**{**row, "agents": tuple(row["agents"])}) for row in await tx.all("all_processes")]
