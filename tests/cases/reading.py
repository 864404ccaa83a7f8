"""Cases as data: what an agent is told goes in, what it answers is compared. See README.md beside it.

`ContextAsData` is the agents' window on the blackboard made from a mapping; `Shelf` is a warehouse made from one.
Neither touches a database.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel

from agents.context import Happening, Remedy
from agents.playbook import NoOptions
from config.assets import Asset
from config.errors import PermanentError, SetupError, SwarmError, TransientError
from integrations import postgres_casts
from integrations.base import Catalog, Column, ColumnProfile, Finding, Profile, Statement, Table
from memory.board import baselines
from memory.records import (
    JSON,
    Decision,
    DecisionKind,
    Escalation,
    EscalationState,
    Event,
    Fact,
    Incident,
    IncidentState,
    Observation,
    PlannedChange,
    Reference,
    Remediation,
    RemediationState,
    Resolution,
    Sensitivity,
    Severity,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SETTINGS: Mapping[str, JSON] = {
    "soak_cycles": 2,
    "soak_minutes": 10.0,
    "breaker_after": 2,
    "demo": False,
    "environment": "",
}


def load(path: Path) -> dict[str, Any]:
    """A case file."""
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def moment(given: Any, default: datetime = NOW) -> datetime:
    """A time: ISO text, or minutes relative to the case's now (`-5`)."""
    if given is None:
        return default
    if isinstance(given, int | float):
        return NOW + timedelta(minutes=given)
    return given if isinstance(given, datetime) else datetime.fromisoformat(str(given))


def _references(given: Sequence[str] | None) -> tuple[Reference, ...]:
    return tuple(Reference(noun, int(number)) for noun, _, number in (r.partition(":") for r in given or ()))


def observation(given: Mapping[str, Any]) -> Observation:
    """An observation; only id, kind and subject are needed."""
    return Observation(
        id=given["id"],
        at=moment(given.get("at")),
        agent=given.get("agent", "somebody"),
        kind=given["kind"],
        subject=Asset.parse(given["subject"]),
        severity=Severity(given.get("severity", "warning")),
        importance=given.get("importance", 0.7),
        sensitivity=Sensitivity.INTERNAL,
        payload=given.get("payload", {}),
        evidence=_references(given.get("evidence")),
        content_hash=f"hash of {given['id']}",
    )


def decision(given: Mapping[str, Any]) -> Decision:
    """A decision; only id and subject are needed (then it is a diagnosis)."""
    return Decision(
        id=given["id"],
        at=moment(given.get("at")),
        agent=given.get("agent", "pipeline-health"),
        kind=DecisionKind(given.get("kind", "diagnosis")),
        subject=Asset.parse(given["subject"]),
        rationale=given.get("rationale", ""),
        cause=given.get("cause", ""),
        confidence=given.get("confidence", 1.0),
        payload=given.get("payload", {}),
        evidence=_references(given.get("evidence")),
        alternatives=tuple(given.get("alternatives", ())),
        transcript=(),
        incident_id=given.get("incident_id"),
        supersedes=given.get("supersedes"),
        superseded_by=given.get("superseded_by"),
        sensitivity=Sensitivity.INTERNAL,
    )


def incident(given: Mapping[str, Any]) -> Incident:
    """An incident; only id, fingerprint and subject are needed (then it is open)."""
    ended = given.get("resolution")
    return Incident(
        id=given["id"],
        fingerprint=given["fingerprint"],
        title=given.get("title", "an incident"),
        kind=given.get("kind", "unknown"),
        severity=Severity(given.get("severity", "error")),
        state=IncidentState(given.get("state", "open")),
        subject=Asset.parse(given["subject"]),
        owner=given.get("owner", ""),
        opened_at=moment(given.get("opened_at")),
        started_at=moment(given.get("started_at", given.get("opened_at"))),
        first_clean_at=moment(given["first_clean_at"]) if "first_clean_at" in given else None,
        ended_at=moment(given["ended_at"]) if "ended_at" in given else None,
        resolution=Resolution(ended) if ended else None,
        details=given.get("details", {}),
        version=given.get("version", 1),
    )


def remediation(given: Mapping[str, Any]) -> Remediation:
    """A run of a playbook; only id, incident_id, playbook, state and subject are needed."""
    return Remediation(
        id=given["id"],
        incident_id=given["incident_id"],
        decision_id=given.get("decision_id", 0),
        playbook=given["playbook"],
        state=RemediationState(given["state"]),
        subject=Asset.parse(given["subject"]),
        plan=given.get("plan", {}),
        inverse=given.get("inverse", {}),
        result=given.get("result", {}),
        at=moment(given.get("at")),
        applied_at=moment(given["applied_at"]) if "applied_at" in given else None,
        ended_at=moment(given["ended_at"]) if "ended_at" in given else None,
    )


def escalation(given: Mapping[str, Any]) -> Escalation:
    """A hand-over to a human; only id and incident_id are needed."""
    return Escalation(
        given["id"],
        given["incident_id"],
        EscalationState(given.get("state", "pending")),
        given.get("reason", ""),
        given.get("packet", {}),
        moment(given.get("at")),
        given.get("answered_by", ""),
    )


def planned_change(given: Mapping[str, Any], number: int) -> PlannedChange:
    """A change announced for now: a pattern over assets, a pattern over kinds, and by whom."""
    return PlannedChange(
        given.get("id", number),
        given["pattern"],
        given.get("kind", "*"),
        given.get("by", "somebody"),
        given.get("reason", "announced"),
        moment(given.get("starts_at", -60)),
        moment(given.get("ends_at", 60)),
        given.get("remediation_id"),
    )


@dataclass
class ContextAsData:
    """The agents' window, answering from a mapping with the keys of a case's `context`.

    `held` are the parts of the baseline of what is sensed; `hold` takes those of a look over, as the runtime does.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    held: dict[str, JSON] = field(default_factory=dict)

    def hold(self, parts: Mapping[str, JSON | None]) -> None:
        """Replace the parts that changed, as they are once they have been JSON."""
        for name, part in parts.items():
            if part is None:
                self.held.pop(name, None)
            else:
                self.held[name] = json.loads(json.dumps(part))

    @property
    def now(self) -> datetime:
        """The case's now."""
        return moment(self.given.get("now"))

    def rows(self, name: str) -> Sequence[Mapping[str, Any]]:
        """What the case lists under a key."""
        return list(self.given.get(name, ()))

    async def observations(
        self,
        *,
        kinds: Sequence[str] = ("*",),
        subjects: Sequence[Asset] | None = None,
        since: timedelta | None = None,
    ) -> Sequence[Observation]:
        """Newest first."""
        found = [
            o
            for o in map(observation, self.rows("observations"))
            if any(fnmatch.fnmatchcase(o.kind, kind) for kind in kinds)
            and (subjects is None or o.subject in subjects or o.subject.whole in subjects)
            and (since is None or o.at >= self.now - since)
        ]
        return sorted(found, key=lambda o: (o.at, o.id), reverse=True)

    async def decisions(
        self, *, kind: str | None = None, incident_id: int | None = None, since: timedelta | None = None
    ) -> Sequence[Decision]:
        """Those that nothing superseded, newest first."""
        found = [
            d
            for d in map(decision, self.rows("decisions"))
            if d.superseded_by is None
            and (kind is None or d.kind == kind)
            and (incident_id is None or d.incident_id == incident_id)
            and (since is None or d.at >= self.now - since)
        ]
        return sorted(found, key=lambda d: (d.at, d.id), reverse=True)

    async def incident(self, key: int | str) -> Incident | None:
        """By id, or the open one with that fingerprint."""
        for found in map(incident, self.rows("incidents")):
            if found.id == key or (found.fingerprint == key and found.state.is_open):
                return found
        return None

    async def open_incidents(self) -> Sequence[Incident]:
        """All that are open."""
        return [i for i in map(incident, self.rows("incidents")) if i.state.is_open]

    async def members(self, incident_id: int) -> Sequence[Reference]:
        """Written as `noun:id` in the incident's `members`."""
        return next((_references(i.get("members")) for i in self.rows("incidents") if i["id"] == incident_id), ())

    async def remediations(self, incident_id: int) -> Sequence[Remediation]:
        """Oldest first, as listed."""
        return [r for r in map(remediation, self.rows("remediations")) if r.incident_id == incident_id]

    async def escalations(self, incident_id: int) -> Sequence[Escalation]:
        """Oldest first, as listed."""
        return [e for e in map(escalation, self.rows("escalations")) if e.incident_id == incident_id]

    def _edges(self) -> list[tuple[Asset, Asset]]:
        return [(Asset.parse(up), Asset.parse(down)) for up, down in self.given.get("lineage", ())]

    async def upstream(self, asset: Asset) -> frozenset[Asset]:
        """Over the case's `lineage`, pairs of upstream and downstream."""
        return _reach(asset, [(down, up) for up, down in self._edges()])

    async def downstream(self, asset: Asset) -> frozenset[Asset]:
        """Over the same."""
        return _reach(asset, self._edges())

    async def is_read(self, source: Asset) -> bool:
        """Is anything of the source upstream in the case's `lineage`?"""
        return any((up.scheme, up.source) == (source.scheme, source.source) for up, _ in self._edges())

    async def parts(self, names: Collection[str] | None = None, *, prefix: str = "") -> Mapping[str, JSON]:
        """Of what is held."""
        return {
            name: part
            for name, part in self.held.items()
            if name.startswith(prefix) and (names is None or name in names)
        }

    async def columns(self, source: str, tables: Collection[str]) -> Mapping[str, Sequence[str]]:
        """Nothing is known of any."""
        return {}

    async def part_hashes(self) -> Mapping[str, str]:
        """Of what is held and has a past."""
        lasting = {n: p for n, p in self.held.items() if not n.startswith((baselines.PASSING, baselines.SECRET))}
        return {name: baselines.hash_of(part) for name, part in lasting.items()}

    async def fact(self, subject: Asset, predicate: str) -> Fact | None:
        """From `facts`: subject, predicate, object."""
        for row in self.rows("facts"):
            if Asset.parse(row["subject"]) == subject and row["predicate"] == predicate:
                return Fact(
                    subject, predicate, row["object"], 1, "pipeline-health", 1.0, Sensitivity.INTERNAL, "", self.now
                )
        return None

    async def planned_changes(self) -> Sequence[PlannedChange]:
        """From `planned`."""
        return [planned_change(p, number) for number, p in enumerate(self.rows("planned"), 1)]

    async def silenced(self, asset: Asset) -> bool:
        """From `silences`, a list of patterns."""
        return any(asset.matches(pattern) for pattern in self.given.get("silences", ()))

    async def success_rate(self, playbook: str, cause: str) -> tuple[int, int]:
        """From the successes and tries of `remedies`."""
        for remedy in await self.remedies(cause):
            if remedy.name == playbook:
                return remedy.successes, remedy.tries
        return 0, 0

    async def remedies(self, cause: str, *, about: Asset | None = None) -> Sequence[Remedy]:
        """From `remedies`: cause class → list of {name, rank, successes, tries}, whatever it is about."""
        return [Remedy(**{"rank": 50, **r}) for r in self.given.get("remedies", {}).get(cause, ())]

    async def setting(self, name: str) -> JSON:
        """From `settings`, else the defaults."""
        return {**SETTINGS, **self.given.get("settings", {})}[name]


def _reach(start: Asset, edges: Sequence[tuple[Asset, Asset]]) -> frozenset[Asset]:
    found: set[Asset] = set()
    wave = {start}
    while wave:
        wave = {b for a, b in edges if a in wave} - found
        found |= wave
    return frozenset(found)


def happenings(case: Mapping[str, Any], agent: str) -> list[Happening]:
    """A case's `events`: a row of the context by noun and id, or a timer with its payload.

    `- observation: 3`, `- decision: 7`, `- incident: 1`, `- remediation: 2`, `- escalation: 1`, `- task: {…}` or
    `- timer: {subject: …, payload: {…}}`. The topic is made from the row; `topic` overrides it.
    """
    context = case.get("context", {})
    return [_happening(number, given, context, agent) for number, given in enumerate(case["events"], 1)]


_ROWS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any], Callable[[Any], str]]] = {
    "observation": ("observations", observation, lambda r: f"observation.{r.kind}"),
    "decision": ("decisions", decision, lambda r: f"decision.{r.kind.value}"),
    "incident": ("incidents", incident, lambda r: f"incident.{r.state.value}"),
    "remediation": ("remediations", remediation, lambda r: f"remediation.{r.state.value}"),
    "escalation": ("escalations", escalation, lambda r: f"escalation.{r.state.value}"),
}


def _happening(number: int, given: Mapping[str, Any], context: Mapping[str, Any], agent: str) -> Happening:
    noun = next(n for n in (*_ROWS, "timer") if n in given)
    if noun == "timer":
        timer = given["timer"]
        subject = Asset.parse(timer["subject"])
        event = Event(number, number, NOW, "timer.due", subject, Reference("timer", number), agent)
        return Happening(event, timer.get("payload", {}))
    listed, make, topic = _ROWS[noun]
    row = next((r for r in context.get(listed, ()) if r["id"] == given[noun]), None)
    if row is None:  # dropped by retention
        subject = Asset.parse(given["subject"])
        return Happening(Event(number, number, NOW, given["topic"], subject, Reference(noun, given[noun])), None)
    record: Any = make(row)
    event = Event(
        number,
        number,
        record.at if hasattr(record, "at") else NOW,
        topic(record),
        record.subject,
        Reference(noun, record.id),
    )
    return Happening(event, record)


# --- a warehouse as data -----------------------------------------------------------------------------------------


class Shelf:
    """A warehouse with nothing in it but what a case says: structure, and sketches made from `values`.

    `answers` maps a part of a query's text to its rows; a query that nothing matches raises SetupError. A table with
    `fails: transient` or `fails: permanent` refuses to be profiled.
    """

    kind: ClassVar[str] = "postgres"
    Options: ClassVar[type[BaseModel]] = NoOptions

    def __init__(self, name: str, options: Any = None) -> None:
        self.name = name
        self.given: Mapping[str, Any] = options or {}
        self.profiled: list[str] = []
        self.asked: list[str] = []

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def examine(self) -> Sequence[Finding]:
        """Always well."""
        return ()

    async def catalog(self) -> Catalog:
        """The tables of the case, in the case's order."""
        tables = tuple(table(path, given) for path, given in self.given.get("tables", {}).items())
        invisible = tuple(self.given.get("invisible", ()))
        shapes = sorted(repr((t.path, t.kind, t.identity, t.columns)) for t in tables)
        fingerprint = hashlib.sha256(repr((shapes, invisible)).encode()).hexdigest()
        return Catalog(tables, NOW, fingerprint, invisible)

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Counts and sketches of the columns that have `values`."""
        self.profiled.append(table)
        given = self.given["tables"].get(table)
        if given is None:
            raise PermanentError(f"there is no table {table}")
        if (kind := given.get("fails")) is not None:
            raise TransientError("locked") if kind == "transient" else SetupError("permission denied")
        rows = max((len(_values(c)) + _nulls(c) for c in given["columns"].values()), default=0)
        return Profile(rows, {name: _profile(c, sketch) for name, c in given["columns"].items()})

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """In PostgreSQL's words."""
        return postgres_casts.cast_test(value, before, after)

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """The first answer whose key stands in the text."""
        self.asked.append(sql)
        for part, rows in self.given.get("answers", {}).items():
            if part in sql:
                if isinstance(rows, SwarmError):
                    raise rows
                return [dict(row) for row in rows][:limit]
        raise SetupError(f"no answer for {sql}")

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Nothing may be changed here."""
        raise AssertionError(f"{agent} tried to change a warehouse")

    def quote(self, *names: str) -> str:
        """Dotted and quoted."""
        return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def table(path: str, given: Mapping[str, Any]) -> Table:
    """A table from `columns` (name → type, or a mapping); identities are places unless given."""
    schema, _, name = path.partition(".")
    identity = given.get("identity")
    columns = tuple(
        _column(column, c if isinstance(c, Mapping) else {"type": c}, place, has_identity=identity is not None)
        for place, (column, c) in enumerate(given["columns"].items(), 1)
    )
    shown = None if identity is None else str(identity)
    return Table(schema, name, columns, given.get("kind", "table"), shown, given.get("rows", -1))


def _column(name: str, given: Mapping[str, Any], place: int, *, has_identity: bool) -> Column:
    identity = str(given.get("identity", place)) if has_identity else None
    position = given.get("position", place)
    return Column(name, position, given["type"], given.get("nullable", True), given.get("default"), identity)


def _values(given: Any) -> list[str]:
    values = given.get("values", ()) if isinstance(given, Mapping) else ()
    if isinstance(values, str):  # "1..500"
        first, _, last = values.partition("..")
        return [str(v) for v in range(int(first), int(last) + 1)]
    return [str(v) for v in values]


def _nulls(given: Any) -> int:
    return int(given.get("nulls", 0)) if isinstance(given, Mapping) else 0


def _profile(given: Any, sketch: int) -> ColumnProfile:
    values = set(_values(given))
    hashes = sorted(hashlib.md5(f"key{v}".encode(), usedforsecurity=False).hexdigest() for v in values)
    return ColumnProfile(_nulls(given), len(values), tuple(hashes[:sketch]))
