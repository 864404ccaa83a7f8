"""Baselines: what an agent knew of a source after its last look, replaced only by who has read the last one.

A baseline is a small head, read at every look, and parts, read when something changed. Parts have a past: each swap
that changes some is a revision, so that what was known then can be read later (`parts`, `revisions`, `name`). Two
prefixes make exceptions:

    passing:…   no past; replaced where it stands
    secret:…    made of the source's content (keyed hashes of values): no past either, and sealed where the transaction
                has the clearance for it and a key is configured. Without, they stay the keyed hashes that they are.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from config.errors import ConflictError, UsageError
from memory import forms
from memory.connection.database import Transaction
from memory.connection.packing import literal
from memory.records import JSON, Baseline, Sensitivity
from memory.vault import envelopes

PASSING: Final = "passing:"
SECRET: Final = "secret:"  # noqa: S105 - no password, a name for what is one
NOUN: Final = "baseline"
KEPT: Final = timedelta(days=90)
"""How long revisions without a name are kept."""

_LONGEST_NAME = 100
_MANY = 200
"""So many parts are read and written outside the event loop."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A version of a baseline at which parts changed; `names` were given by humans, and keep it for ever."""

    revision: int
    at: datetime
    changed: int
    note: str
    names: tuple[str, ...] = ()


async def get(tx: Transaction, agent: str, source: str) -> Baseline | None:
    """The baseline's head, or None before the first look."""
    row = await tx.one("baseline", agent=agent, source=source)
    return Baseline(**row) if row else None


def hash_of(value: JSON) -> str:
    """What tells a part from its next version; the same for equal values."""
    return hashlib.blake2b(forms.dumped(value, "part").encode(), digest_size=12).hexdigest()


async def hashes(tx: Transaction, agent: str, source: str) -> dict[str, str]:
    """The hashes (`hash_of`) of the parts that have a past, as they are now: enough to tell which ones to read."""
    return dict(await tx.rows("baseline_part_hashes", agent=agent, source=source))


async def parts(
    tx: Transaction,
    agent: str,
    source: str,
    revision: int | None = None,
    *,
    names: Collection[str] | None = None,
    prefix: str = "",
) -> dict[str, JSON]:
    """Parts by name; as they are now, or as of a revision (then those with a past alone).

    - revision: one of `revisions`.
    - names, prefix: of the parts that are there now, these alone.

    Raises:
        UsageError: no such revision is kept.
        SetupError, PermanentError: something sealed cannot be opened.
    """
    about: dict[str, Any] = {"agent": agent, "source": source}
    if revision is not None:
        if await tx.one("baseline_revision", **about, revision=revision) is None:
            raise UsageError(
                f"the baseline of {agent} on {source} has no revision {revision}",
                hint="`dataswarm drift history` lists those that are kept",
            )
        rows = await tx.rows("baseline_parts_then", **about, revision=revision)
    elif names is not None:
        rows = await tx.rows("baseline_parts_named", **about, names=sorted(names))
    elif prefix:
        rows = await tx.rows("baseline_parts_like", **about, prefix=prefix)
    else:
        rows = await tx.rows("baseline_parts", **about)
    read = _read if len(rows) < _MANY else _read_apart
    found = await read([(part, text) for part, text, _ in rows])
    for part in [part for part, _, sensitivity in rows if sensitivity == Sensitivity.CONFIDENTIAL]:
        if envelopes.is_envelope(found[part]):
            opened = await envelopes.opened_value(tx, NOUN, _about(agent, source, part), found[part])
            found[part] = opened["part"]
    return found


async def _read(rows: list[tuple[str, str]]) -> dict[str, JSON]:
    return {part: json.loads(text) for part, text in rows}


async def _read_apart(rows: list[tuple[str, str]]) -> dict[str, JSON]:
    return await asyncio.to_thread(lambda: {part: json.loads(text) for part, text in rows})


async def swap(
    tx: Transaction,
    agent: str,
    source: str,
    value: JSON,
    expected: int,
    parts: Mapping[str, JSON | None] | None = None,
    *,
    note: str = "",
) -> Baseline:
    """Replace the head of version `expected` (0: there is none yet), and with it the parts given (None: gone).

    What a part already holds is not written again. Where parts with a past changed, the new version is a revision.

    - note: what the revision is about, for humans.

    Raises:
        ConflictError: another look was faster; names both versions.
        UsageError: something is not JSON.
        SetupError: something is to be sealed, and the key is missing or wrong.
    """
    row = await tx.one(
        "swap_baseline" if expected else "first_baseline",
        agent=agent,
        source=source,
        value=forms.dumped(value, NOUN),
        **({"expected": expected} if expected else {}),
    )
    if row is None:
        found = await get(tx, agent, source)
        version = found.version if found else 0
        raise ConflictError(f"the baseline of {agent} on {source} has version {version}, not {expected}")
    swapped = Baseline(**row)
    if parts:
        await _change(tx, swapped, parts, note)
    return swapped


async def _change(tx: Transaction, head: Baseline, parts: Mapping[str, JSON | None], note: str) -> None:
    """Write the parts that changed, as of the head's version."""
    written = await (_prepared if len(parts) < _MANY else _prepared_apart)(parts)
    about: dict[str, Any] = {"agent": head.agent, "source": head.source, "revision": head.version}
    lasting = [one for one in written if one.has_past]
    changed = 0
    if lasting:
        columns = await (_columns if len(lasting) < _MANY else _columns_apart)(lasting)
        names = {name: columns[name] for name in ("parts", "hashes")}
        ended = await tx.rows("end_baseline_parts", **about, **names)
        gone = sum(1 for (is_gone,) in ended if is_gone)
        changed = gone + await tx.run("add_baseline_parts", **about, **columns)
    if changed:
        await tx.run("add_baseline_revision", **about, changed=changed, note=forms.text(note, "note"))
    if passing := [one for one in written if not one.has_past]:
        await _pass(tx, head, about, passing)


async def _pass(tx: Transaction, head: Baseline, about: dict[str, Any], passing: list[_Part]) -> None:
    """Replace parts without a past; what is secret is sealed, and the keys of what it replaces are forgotten."""
    vault, sealed = envelopes.of(tx), []
    if tx.clearance is Sensitivity.CONFIDENTIAL and vault.is_open:
        for place, one in enumerate(passing):
            if one.part.startswith(SECRET) and one.value is not None:
                await vault.hash_key(tx)  # a wrong key is noticed here, before anything is sealed with it
                held = vault.seal(NOUN, _about(head.agent, head.source, one.part), {"part": json.loads(one.value)})
                sealed.append(held)
                passing[place] = _Part(one.part, held.envelope, None, Sensitivity.CONFIDENTIAL)
    columns = await (_columns if len(passing) < _MANY else _columns_apart)(passing)
    names = {name: columns[name] for name in ("parts", "hashes")}
    dropped = [row["sealed"] for row in await tx.all("drop_baseline_parts", **about, **names)]
    await tx.run("add_baseline_parts", **about, **columns)
    await envelopes.keep(tx, sealed)
    if gone := [id_ for id_ in dropped if id_ is not None]:
        await tx.run("forget_sealed_parts", ids=gone)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part as it goes into its row; without a value it goes out."""

    part: str
    value: str | None
    hash: str | None
    sensitivity: Sensitivity = Sensitivity.INTERNAL

    @property
    def has_past(self) -> bool:
        return not self.part.startswith((PASSING, SECRET))


def _part(name: str, value: JSON | None) -> _Part:
    forms.text(name, "name of a part", required=True)
    if value is None:
        return _Part(name, None, None)
    text = forms.dumped(value, f"part {name}")
    return _Part(name, text, hashlib.blake2b(text.encode(), digest_size=12).hexdigest())


async def _prepared(parts: Mapping[str, JSON | None]) -> list[_Part]:
    return [_part(name, value) for name, value in parts.items()]


async def _prepared_apart(parts: Mapping[str, JSON | None]) -> list[_Part]:
    return await asyncio.to_thread(lambda: [_part(name, value) for name, value in parts.items()])


async def _columns(written: Sequence[_Part]) -> dict[str, Any]:
    return _arrays(written)


async def _columns_apart(written: Sequence[_Part]) -> dict[str, Any]:
    return await asyncio.to_thread(_arrays, written)


def _arrays(written: Sequence[_Part]) -> dict[str, Any]:
    """Parts by column."""
    return {
        "parts": literal([one.part for one in written]),
        "values": literal([one.value for one in written]),
        "hashes": literal([one.hash for one in written]),
        "sensitivities": [int(one.sensitivity) for one in written],
        "pasts": [one.has_past for one in written],
    }


def _about(agent: str, source: str, part: str) -> list[str]:
    return [agent, source, part]


# --- the past ------------------------------------------------------------------------------------------------------


async def revisions(tx: Transaction, agent: str, source: str, limit: int = 50) -> list[Revision]:
    """The revisions that are kept, newest first."""
    rows = await tx.all("baseline_revisions", agent=agent, source=source, limit=limit)
    return [Revision(**{**row, "names": tuple(row["names"])}) for row in rows]


async def name(tx: Transaction, agent: str, source: str, revision: int, name: str, by: str) -> None:
    """Give a revision a name, by which it is found and kept for ever. The same name again for it changes nothing.

    Raises:
        UsageError: no such revision is kept, or the name is empty, too long or a mere number.
        ConflictError: another revision has that name.
    """
    called = forms.text(name.strip(), "name", required=True, longest=_LONGEST_NAME)
    if called.isdigit():
        raise UsageError(f"{called} would be taken for the number of a revision", hint="choose a word")
    about = {"agent": agent, "source": source}
    if await tx.one("baseline_revision", **about, revision=revision) is None:
        raise UsageError(
            f"the baseline of {agent} on {source} has no revision {revision}",
            hint="`dataswarm drift history` lists those that are kept",
        )
    who = forms.text(by, "by", required=True)
    if await tx.run("name_baseline", **about, revision=revision, name=called, by=who):
        return
    held = await named(tx, agent, source, called)
    if held != revision:
        raise ConflictError(f"{called!r} is revision {held} of the baseline of {agent} on {source}")


async def named(tx: Transaction, agent: str, source: str, name: str) -> int | None:
    """The revision of that name; None where there is none."""
    row = await tx.one("baseline_named", agent=agent, source=source, name=name.strip())
    return None if row is None else int(row["revision"])


async def forget(tx: Transaction, before: datetime) -> int:
    """Drop unnamed revisions older than that, and the parts nobody can ask for any more; how many revisions.

    The newest revision of each baseline stays, whatever its age. Any number of replicas may do it.
    """
    dropped = await tx.run("forget_baseline_revisions", before=before)
    if dropped:
        await tx.run("forget_baseline_parts")
    return dropped
