"""The doors to the outside: a few small protocols, and the outside's own words as value types.

An integration reports what it saw and does what it is told; it concludes nothing and knows nothing of memory.
Every coroutine may raise TransientError (try later), SourceError (what came back cannot be used) or SetupError
(something is missing or forbidden); messages name the source and never hold a secret or a value sampled from data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

from config.assets import Asset


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a source's self-examination (`doctor`): is it well, what is wrong, what to do."""

    ok: bool
    what: str
    hint: str = ""


class Integration(Protocol):
    """What every door has. `name` is the configured name of the source, `kind` that of the integration."""

    kind: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    name: str

    def __init__(self, name: str, options: Any) -> None:
        """Take validated `Options`; touch nothing outside yet."""

    async def open(self) -> None:
        """Get ready (pools, clones). Idempotent."""

    async def close(self) -> None:
        """Let go of everything, children included. Idempotent."""

    async def examine(self) -> Sequence[Finding]:
        """Look at the source as `doctor` does: reachable, rights enough and not too many, versions known."""


# --- warehouses ------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column. `type` is normalised (int4 → integer); `identity` is the engine's own (attnum), where it keeps one.

    `default` is the engine's text of it; `generated` that of a generated column's expression; `numbering` is `always`
    or `by default` for an identity column. What an engine does not tell stays empty. A tuple, for a warehouse may have
    hundreds of thousands of them, and a frozen dataclass takes six times as long to make.
    """

    name: str
    position: int
    type: str
    nullable: bool
    default: str | None = None
    identity: str | None = None
    comment: str = ""
    generated: str = ""
    numbering: str = ""
    collation: str = ""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A key or check: `kind` is primary_key, unique, foreign_key, check or exclusion; `definition` its own text."""

    name: str
    kind: str
    columns: tuple[str, ...] = ()
    definition: str = ""
    references: str = ""
    referenced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """An index that is no constraint's own: columns or expressions in their order."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role may do with a table, privileges sorted."""

    role: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view. `identity` is the engine's own (oid); `rows` the engine's estimate, -1 where unknown.

    `definition` is a view's query, `partitioning` how a table is split; empty where the engine does not tell.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    kind: str = "table"
    identity: str | None = None
    rows: int = -1
    comment: str = ""
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[Index, ...] = ()
    definition: str = ""
    partitioning: str = ""
    owner: str = ""
    grants: tuple[Grant, ...] = ()

    @property
    def path(self) -> str:
        """`schema.name`, as assets name it."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Enumeration:
    """A type with listed values, in their order."""

    schema: str
    name: str
    values: tuple[str, ...]
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class NumberSequence:
    """A sequence: its type, step and bounds; never its current value."""

    schema: str
    name: str
    definition: str
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """All that the reader can see. `fingerprint` changes whenever anything in it does (row estimates apart)."""

    tables: tuple[Table, ...]
    taken_at: datetime
    fingerprint: str
    invisible: tuple[str, ...] = ()  # schemas configured but not visible to the role: never "dropped"
    enumerations: tuple[Enumeration, ...] = ()
    sequences: tuple[NumberSequence, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Counts of a column; `sketch` holds the smallest keyed hashes of its distinct values (a k-minimum sketch)."""

    nulls: int
    distinct: int | None = None
    sketch: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Structure and counts of a table, no values. Not `exact`: a large table, sampled and scaled up, no sketches."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with parameters, and how many rows it may and must touch (None: any).

    Placeholders are `%s`; in a statement with parameters a literal percent sign is written `%%`.
    """

    sql: str
    parameters: Sequence[Any] = ()
    rows: int | None = None


@runtime_checkable
class Structured(Integration, Protocol):
    """Whatever has tables with columns: a warehouse, a folder of files, the contracts a dbt project declares."""

    async def catalog(self) -> Catalog:
        """Tables and all that belongs to them, as of now; whole or not at all."""


@runtime_checkable
class Warehouse(Structured, Protocol):
    """Where tables live. Reading is done as the reader role, read-only and with time-outs; changing as the actor."""

    async def catalog(self) -> Catalog:
        """Tables and all that belongs to them in a bounded number of queries; takes no lock that blocks users."""

    async def profile(self, table: str, *, columns: Sequence[str] | None = None, sketch: int = 0) -> Profile:
        """Row and null counts of `schema.table`; with `sketch` > 0 that many smallest keyed hashes a column."""

    async def query(self, sql: str, parameters: Sequence[Any] = (), *, limit: int = 1000) -> list[dict[str, Any]]:
        """Rows of a read-only query as the reader; at most `limit`. The values are confidential."""

    async def execute(self, statements: Sequence[Statement], *, agent: str, lock: str = "") -> list[int]:
        """Run statements in one transaction as the actor; rows touched by each.

        `lock` names an advisory lock held for the transaction. A statement that touches another number of rows
        than it must rolls everything back with a ConflictError. The session's application_name is
        `dataswarm/<agent>`.
        """

    def quote(self, *names: str) -> str:
        """A dotted, quoted identifier."""


@runtime_checkable
class Fingerprinted(Protocol):
    """A warehouse that can tell by one cheap query whether its structure may have changed."""

    async def fingerprint(self) -> str:
        """Another text whenever the catalog may be another; the same one after mere changes of rows."""


@runtime_checkable
class CastTesting(Protocol):
    """A warehouse that can say in its own words whether a value could be cast, without trying and failing."""

    def cast_test(self, value: str, before: str, after: str) -> str | None:
        """A condition, true where `value` (SQL) of type `after` is surely a `before`; false or null elsewhere.

        Types are in the words of the catalog. None where there is no such condition: then nothing is promised.
        """


# --- orchestrators ---------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """How a node of a run ended."""

    SUCCESS = "success"
    WARN = "warn"
    FAIL = "fail"  # a test found rows
    ERROR = "error"
    SKIPPED = "skipped"

    @property
    def is_bad(self) -> bool:
        """Did the node itself go wrong (skipped is the consequence of another)?"""
        return self in (Outcome.FAIL, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class NodeResult:
    """One node of a run. `message` is the tool's own text: data, never an instruction."""

    node: str
    outcome: Outcome
    message: str = ""
    failures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation of a pipeline, as its own artefacts tell it. `id` is the tool's invocation id."""

    id: str
    command: str
    finished_at: datetime
    results: tuple[NodeResult, ...]
    seconds: float = 0.0

    @property
    def bad(self) -> tuple[NodeResult, ...]:
        """The nodes that failed by themselves."""
        return tuple(r for r in self.results if r.outcome.is_bad)

    @property
    def is_clean(self) -> bool:
        """Did every node end well?"""
        return not any(r.outcome.is_bad or r.outcome is Outcome.SKIPPED for r in self.results)


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a pipeline: a model, a test, a source table, a seed, an exposure.

    Attributes:
        id: the tool's unique id (`model.shop.stg_orders`).
        kind: model | test | source | seed | snapshot | exposure.
        relation: `schema.table` in the warehouse, empty where there is none.
        path: the file it is written in, relative to the project's root; for a source its YAML file.
        depends_on: ids of the nodes it reads.
        test: for a test its name (`unique`, `not_null`, …), else empty.
        column: for a column's test that column.
        materialized: `view`, `table`, `incremental`, … ; empty where it does not apply.
        unique_key: of an incremental model, empty where it has none.
        owner: from `meta.owner` or the exposure's owner; empty where unknown.
        raw_code, compiled_code: as written, as sent (empty where the tool does not say).
    """

    id: str
    kind: str
    name: str
    relation: str = ""
    path: str = ""
    depends_on: tuple[str, ...] = ()
    test: str = ""
    column: str = ""
    materialized: str = ""
    unique_key: str = ""
    owner: str = ""
    raw_code: str = ""
    compiled_code: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Project:
    """What a pipeline consists of. `warehouse` is the configured name of the source its relations live in."""

    name: str
    warehouse: str
    nodes: Mapping[str, Node]

    def downstream(self, node: str) -> tuple[str, ...]:
        """Ids of everything made from `node`, itself left out, nearest first."""
        found: dict[str, None] = {}
        wave = [node]
        while wave:
            wave = [n.id for n in self.nodes.values() if n.id not in found and any(d in wave for d in n.depends_on)]
            found.update(dict.fromkeys(wave))
        return tuple(found)

    def upstream(self, node: str) -> tuple[str, ...]:
        """Ids of everything `node` is made from, itself left out, nearest first."""
        found: dict[str, None] = {}
        wave = [node]
        while wave:
            wave = [d for n in wave if n in self.nodes for d in self.nodes[n].depends_on if d not in found]
            found.update(dict.fromkeys(wave))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Staleness:
    """A source table's freshness as the pipeline's own check saw it."""

    node: str
    outcome: Outcome
    max_loaded_at: datetime | None
    age_seconds: float


@runtime_checkable
class Orchestrator(Integration, Protocol):
    """What runs pipelines: dbt here, others beside it. Its runs are the team's; building is the swarm's own."""

    async def project(self) -> Project:
        """The pipeline as last parsed by the team. SourceError where the artefact is broken or of another version."""

    async def last_run(self) -> Run | None:
        """The team's newest run as its artefacts tell it; None where there is no artefact (itself a signal)."""

    async def staleness(self) -> Sequence[Staleness]:
        """The newest freshness results; empty where there are none."""

    async def is_running(self) -> bool:
        """Is a run of the team in flight right now?"""

    async def build(
        self, select: Sequence[str], *, directory: Path | None = None, scratch: bool = False, label: str = ""
    ) -> Run:
        """Build the named nodes (ids; `id+` with everything downstream) with the user's own executable.

        Args:
            select: what to build.
            directory: a checkout to build from; None is the team's own.
            scratch: into the swarm's scratch schema, everything not selected read from production.
            label: names the swarm's own target directory, so that concurrent builds never share one.

        Waits while the team's run is in flight (TransientError when that lasts too long). Children die with the
        caller, also when it is killed.
        """


# --- lineage, repositories, channels ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`downstream` is made from `upstream`."""

    upstream: Asset
    downstream: Asset


@runtime_checkable
class LineageSource(Protocol):
    """Whatever knows what is made from what."""

    async def edges(self) -> Sequence[LineageEdge]:
        """All edges as of now; those of the last call that are missing here are gone."""


@runtime_checkable
class Repository(Integration, Protocol):
    """Where the models are written: a git repository, worked on in a clone of the swarm's own."""

    async def head(self) -> str:
        """The commit id of the production branch at the remote, fetched now."""

    async def read(self, path: str, *, revision: str = "") -> str | None:
        """A file's text at a revision (default: head); None where there is none."""

    async def checkout(self, revision: str) -> Path:
        """A directory holding that revision, made once and kept apart from others; read-only by convention."""

    async def propose(self, branch: str, base: str, changes: Mapping[str, str], message: str) -> str:
        """Commit `changes` (path → text) on a branch grown from `base`, push it, return the commit id.

        Idempotent: the same branch with the same content returns the commit that is there.
        """

    async def merge(self, revision: str, *, expected: str) -> str:
        """Make production contain `revision`; ConflictError where head is no longer `expected`. Returns new head."""

    async def revert(self, revision: str, message: str) -> str:
        """Take a merged commit back by a new commit on production; returns the new head. Idempotent."""

    async def contains(self, revision: str) -> bool:
        """Is that commit part of production's history?"""

    def url_of(self, revision: str) -> str:
        """Where a human can look at a commit; empty where unknown."""


@dataclass(frozen=True, slots=True)
class Message:
    """What a human is told. `body` is markdown; `demo` marks it as not about live data."""

    topic: str  # escalation | approval | resolved | info
    title: str
    body: str
    incident_id: int | None = None
    link: str = ""
    demo: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """How sending went: was it taken, is trying again of use, what was said."""

    ok: bool
    retry: bool = False
    error: str = ""


@runtime_checkable
class Channel(Integration, Protocol):
    """A way to a human."""

    async def send(self, message: Message) -> Delivery:
        """Hand the message over; never raises for a refusal of the other side."""
