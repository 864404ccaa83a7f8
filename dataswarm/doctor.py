"""What loaded, from where, what is off and why: every part looked at by itself, so that one broken hides no other."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from agents.reasoning import reasoner
from config import settings as configuration
from config.errors import ConfigError, SwarmError
from config.settings import ModelSettings, Settings
from dataswarm import __version__
from dataswarm.app import addresses
from dataswarm.members import Installed, Members, assemble, installed, part
from integrations.base import Integration
from memory.bus.listener import Listener
from memory.connection import statements
from memory.connection.database import OLDEST_SERVER, Database
from memory.connection.translation import translate
from memory.server import migrate
from memory.server.health import Health, health, pins_seen_by

SOURCE_SECONDS = 20.0
DATABASE_SECONDS = 75.0  # an embedded server may have to recover first
_NOBODY = ("-",)  # as `only`: no agent is made


@dataclass(frozen=True, slots=True)
class Line:
    """One thing found: well (True), wrong (False), or merely so (None), with what to do."""

    part: str
    ok: bool | None
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found; `source` says whether it is of a demo."""

    source: str
    lines: tuple[Line, ...] = field(default_factory=tuple)

    @property
    def is_well(self) -> bool:
        """Is nothing wrong?"""
        return all(line.ok is not False for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"source": self.source, "ok": self.is_well, "lines": [asdict(line) for line in self.lines]}


async def examine(path: Path | None, *, source_seconds: float = SOURCE_SECONDS) -> Report:
    """Look at everything; never raises for what it finds.

    Args:
        path: the configuration; None searches, as everywhere.
        source_seconds: how long one source may take before the others are reported without it.
    """
    found = installed()
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    lines = [Line("program", True, f"dataswarm {__version__}, {python}")]
    settings, told = _configuration(path, found)
    lines += told
    lines += _members(found, settings)
    if settings is None:
        lines.append(Line("database", None, "not looked at: the configuration cannot be used"))
        return Report("live", tuple(lines))
    groups = await asyncio.gather(
        _in_time(_database(settings), DATABASE_SECONDS, "database", "the database"),
        *_sources(found, settings, source_seconds),
    )
    for group in groups:
        lines += group
    lines += [*_nothing_configured(settings), *_model(settings), *_door(settings), *_dbt()]
    return Report("demo" if settings.runtime.demo else "live", tuple(lines))


def _configuration(path: Path | None, found: Installed) -> tuple[Settings | None, list[Line]]:
    file = configuration.find(path)
    try:
        settings = configuration.load(path, catalogue=found.catalogue())
    except ConfigError as error:
        problems = [
            Line(
                "configuration",
                False,
                f"{problem.where}: {problem.message}",
                f"did you mean {problem.suggestion!r}?" if problem.suggestion else "",
            )
            for problem in error.problems
        ]
        return None, problems
    if file is None:
        return settings, [Line("configuration", True, "no file; the defaults", "`dataswarm init` writes one")]
    what = f"{file.resolve()} (fingerprint {settings.fingerprint})"
    return settings, [Line("configuration", True, what)]


def _members(found: Installed, settings: Settings | None) -> list[Line]:
    lines = [
        Line("installed", False, f"{name} is refused: {why}", "update or remove it")
        for name, why in found.refused.items()
    ]
    for noun, known in (("agent", found.agents), ("playbook", found.playbooks)):
        for name in known:
            origin = found.origin.get(f"{noun} {name}", "")
            is_on = settings is None or getattr(settings, noun)(name).enabled
            off = "" if is_on else f", off: {noun}s.{name}.enabled is false"
            lines.append(Line("installed", True if is_on else None, f"{noun} {name} from {origin}{off}"))
    lines += [
        Line("installed", True, f"integration {name} from {found.origin.get(f'integration {name}', '')}")
        for name in found.integrations
    ]
    return lines


async def _database(settings: Settings) -> list[Line]:
    lines: list[Line] = []
    where = await asyncio.to_thread(addresses, settings)
    kind = f"embedded, in {settings.database.directory.resolve()}" if where.embedded else "as configured"
    lines += await _server(where.owner, kind)
    planned = await migrate.plan(where.owner)
    pending = [str(step) for step in planned if step.applied_at is None]
    if pending:
        hint = "`dataswarm up` or `dataswarm migrate` applies them" if where.embedded else "run `dataswarm migrate`"
        lines.append(Line("database", None if where.embedded else False, f"pending: {', '.join(pending)}", hint))
        return lines
    lines.append(Line("database", True, f"all {len(planned)} migrations are applied"))
    database = await Database.open(
        where.worker, application_name="dataswarm/doctor", pool_size=1, prepare=settings.database.prepare
    )
    try:
        async with database.transaction(durable=False) as tx:
            found = await health(tx)
    finally:
        await database.close()
    most = settings.database.pool_size + 2
    lines.append(Line("database", True, f"the working role is as it should be; at most {most} connections a process"))
    pins = await pins_seen_by(where.owner)  # an owner sees since when; the working role does not
    lines += _health(found if pins is None else replace(found, pins=pins))
    lines += await _notify(where.listen)
    return lines


def _health(found: Health) -> list[Line]:
    """What is wrong inside the database, or what was looked at."""
    wrong = [Line("database", False, trouble.what, trouble.hint) for trouble in found.troubles]
    kinds = {trouble.kind for trouble in found.troubles}
    if "pinned" not in kinds:
        wrong.append(Line("database", True, "nobody keeps old rows from being cleared"))
    if "partitions" not in kinds:
        days = min(found.horizon.values(), default=0)
        wrong.append(Line("database", True, f"partitions are made {days} day(s) ahead"))
    return wrong


async def _notify(url: str) -> list[Line]:
    """Does an echo come back where the swarm listens?"""
    if await Listener(url).comes_through():
        return [Line("database", True, "notifications come through")]
    what = "NOTIFY does not come through: the swarm works by polling, slower but complete"
    return [Line("database", None, what, "set database.listen_url to a direct address, past a transaction pooler")]


async def _server(url: str, kind: str) -> list[Line]:
    try:
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=10, row_factory=dict_row) as connection:
            cursor = await connection.execute(statements.load("migrate")["examine_server"])
            server = await cursor.fetchone() or {}
    except psycopg.Error as error:
        raise translate(error) from None
    number = int(server["version"])
    is_new_enough = number >= OLDEST_SERVER
    vector = server["vector_installed"] or server["vector_available"]
    return [
        Line(
            "database",
            is_new_enough,
            f"PostgreSQL {number // 10000}.{number % 10000}, {kind}",
            "" if is_new_enough else "15 or newer is needed",
        ),
        Line(
            "database",
            vector is not None,
            f"pgvector {vector}" if vector else "the server has no pgvector",
            "" if vector else "install the package (Debian: postgresql-NN-pgvector) or enable it with your provider",
        ),
    ]


def _sources(found: Installed, settings: Settings, seconds: float) -> Sequence[Any]:
    """One look for each source and channel, each with its own time; what is switched off is said."""
    looks: list[Any] = []
    for section, noun in (("sources", "source"), ("channels", "channel")):
        specs: Mapping[str, Any] = getattr(settings, section)
        for name, spec in specs.items():
            label = f"{noun} {name}"
            if not spec.enabled:
                looks.append(_said(Line(label, None, f"{spec.kind}, off: {section}.{name}.enabled is false")))
                continue
            alone = settings.model_copy(
                update={"sources": {}, "channels": {}, "model": ModelSettings(), section: {name: spec}}
            )
            looks.append(_in_time(_look(found, alone, label, spec.kind), seconds, label, label))
    return looks


async def _said(line: Line) -> list[Line]:
    return [line]


async def _look(found: Installed, alone: Settings, label: str, kind: str) -> list[Line]:
    members = await assemble(replace(found, agents={}, playbooks={}), alone, Members(), _NOBODY)
    try:
        doors: list[Integration] = [*members.sources.values(), *members.channels.values()]
        findings = await doors[0].examine()
    finally:
        await part(members, keep=Members())
    if not findings:
        return [Line(label, True, f"{kind}, nothing to object")]
    return [Line(label, finding.ok, finding.what, finding.hint) for finding in findings]


async def _in_time(looking: Any, seconds: float, label: str, what: str) -> list[Line]:
    """The lines of a look; its error, or its lateness, as a line: the others go on."""
    try:
        async with asyncio.timeout(seconds):
            lines: list[Line] = await looking
    except TimeoutError:
        return [Line(label, False, f"{what} did not answer within {seconds:g} s", "check address, network and load")]
    except SwarmError as error:
        return [Line(label, False, error.message, error.hint)]
    except Exception as error:  # noqa: BLE001 - somebody else's integration may raise anything; that is a finding
        return [Line(label, False, f"it broke while being examined: {type(error).__name__}", "report it to its maker")]
    return lines


def _nothing_configured(settings: Settings) -> list[Line]:
    lines = []
    if not settings.sources:
        lines.append(Line("sources", None, "none is configured: there is nothing to watch", "`dataswarm init`"))
    if not settings.channels:
        lines.append(Line("channels", None, "none is configured: escalations wait here unannounced", "add `channels:`"))
    return lines


def _model(settings: Settings) -> list[Line]:
    if settings.model.name is None:
        return [Line("model", None, "off: model.name is not set; reasoning is by rules alone")]
    try:
        reasoner(settings.model)
    except SwarmError as error:
        return [Line("model", False, error.message, error.hint)]
    return [Line("model", True, f"{settings.model.name} is configured (not called)")]


def _door(settings: Settings) -> list[Line]:
    http = settings.http
    if http.tokens:
        return [Line("http", True, f"{http.host}:{http.port}, tokens: {', '.join(t.name for t in http.tokens)}")]
    if http.host in ("127.0.0.1", "::1", "localhost"):
        return [Line("http", True, f"{http.host}:{http.port}, for this machine alone")]
    what = f"{http.host}:{http.port} without tokens: requests from other machines are refused"
    return [Line("http", None, what, "set http.tokens")]


def _dbt() -> list[Line]:
    try:
        core, adapter = version("dbt-core"), version("dbt-postgres")
    except PackageNotFoundError:
        what = "not in this environment: needed by `dataswarm demo` alone, your stack brings its own"
        return [Line("dbt", None, what, "pip install 'dataswarm[demo]'")]
    return [Line("dbt", True, f"dbt-core {core}, dbt-postgres {adapter} in this environment, for `dataswarm demo`")]
