"""Learning across agents: success rates by circumstances, and insights addressed to those they are for.

What worked or failed is remembered by `knowledge.learn`. Here it becomes rates that choices use, and word that
reaches named agents as the event `learning.<signal>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.assets import Asset
from config.errors import UsageError
from memory import bus, forms
from memory.beliefs import knowledge
from memory.connection.database import Transaction
from memory.records import Learning, Payload, Reference, Sensitivity
from memory.vault import envelopes

_ALIKE_WEIGHT = 2.0  # a try in the same circumstances tells as much as so many in others


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a remedy worked for a cause class, over all, and in circumstances like the given ones."""

    playbook: str
    successes: int
    tries: int
    alike_successes: int
    alike_tries: int

    @property
    def estimate(self) -> float:
        """The chance that it works: the rule of succession, tries in the same circumstances counted double."""
        more = _ALIKE_WEIGHT - 1
        won = self.successes + more * self.alike_successes
        tried = self.tries + more * self.alike_tries
        return (won + 1) / (tried + 2)


async def rates(
    tx: Transaction,
    cause: str,
    *,
    playbooks: Sequence[str] | None = None,
    circumstances: Payload | None = None,
    subject: Asset | None = None,
) -> dict[str, Rate]:
    """Success rates of remedies for a cause class, by playbook; those never tried are left out.

    - playbooks: of these alone.
    - circumstances: what holds now; a learning is alike where it says the same for each key that it shares, and shares
      one.
    - subject: what is to be remedied; a learning about the same asset, or a part of it, is alike too.
    """
    rows = await tx.all(
        "success_rates",
        cause=forms.text(cause, "cause"),
        playbooks=None if playbooks is None else list(playbooks),
        circumstances=forms.dumped(dict(circumstances or {}), "circumstances"),
        whole=None if subject is None else str(subject.whole),
    )
    return {row["playbook"]: Rate(**row) for row in rows}


async def share(
    tx: Transaction,
    agent: str,
    *,
    to: Sequence[str] = (),
    signal: str,
    playbook: str = "",
    cause: str = "",
    subject: Asset,
    text: str,
    circumstances: Payload | None = None,
    sensitivity: Sensitivity = Sensitivity.INTERNAL,
) -> int:
    """Remember an insight and tell it: an event `learning.<signal>` to each named agent, or to whoever watches; its id.

    Raises:
        UsageError: another signal, a name given as a bare word instead of a list, or a field that cannot be stored.
    """
    if isinstance(to, str):
        raise UsageError("`to` is a list of agents' names", hint=f"write [{to!r}]")
    addressed = list(dict.fromkeys(forms.text(name, "to", required=True, longest=200) for name in to))
    learned = await knowledge.learn(
        tx,
        agent,
        signal=signal,
        playbook=playbook,
        cause=cause,
        subject=subject,
        text=text,
        circumstances=circumstances or {},
        sensitivity=sensitivity,
    )
    for name in addressed or [""]:
        await bus.publish(tx, f"learning.{signal}", subject, Reference("learning", learned), agent=name)
    return learned


async def learning(tx: Transaction, id: int) -> Learning | None:  # noqa: A002 - the column's name
    """One learning, or None: above the clearance, or never there."""
    row = await tx.one("learning", id=id)
    if row is None:
        return None
    (read,) = await envelopes.opened(tx, "learning", [row])
    del read["sensitivity"]
    return Learning(**{**read, "subject": Asset.parse(read["subject"])})
