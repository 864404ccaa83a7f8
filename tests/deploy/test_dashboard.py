"""The dashboard and the rules over real figures: a real Prometheus scrapes two real replicas over one database."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from agents.reasoning import Spent
from config.assets import Asset
from config.settings import DatabaseSettings, HttpSettings, Settings, TokenSettings
from dataswarm import serving
from dataswarm.app import App
from dataswarm.metrics import Metrics
from memory.board import approvals, escalations, incidents, ledger, remediations
from memory.connection.database import Database
from memory.measuring import counters
from memory.queue import kinds, tasks
from memory.records import (
    DecisionKind,
    IncidentState,
    NewDecision,
    NewTask,
    RemediationState,
    Resolution,
    Severity,
)
from tests.deploy.places import DEPLOY
from tests.pace import PATIENCE

DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "dataswarm.json").read_text(encoding="utf-8"))
ORDERS = Asset("warehouse", "shop", "raw.orders")
TOKEN = "a-viewer's-token"
SCRAPE_SECONDS = 1
UP = "ready to receive web requests"


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the title of its panel."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def of_panel(title: str) -> list[str]:
    """The expressions of one panel, in their order."""
    found = [expression for named, expression in expressions() if named == title]
    assert found, title
    return found


def free_port() -> int:
    """A port nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def an_incident(db: Database, name: str, *, minutes_ago: float) -> int:
    """An open incident whose fault lies some minutes back."""
    async with db.transaction() as tx:
        incident, _ = await incidents.open_or_join(
            tx,
            fingerprint=name,
            title=name,
            kind="column_renamed",
            severity=Severity.ERROR,
            subject=ORDERS,
            owner="",
            started_at=datetime.now(UTC) - timedelta(minutes=minutes_ago),
            by="incident-response",
            reason="seen",
            members=(),
            details={},
        )
    return incident.id


async def a_remedy(db: Database, incident_id: int) -> int:
    """A proposed remedy of an incident."""
    async with db.transaction() as tx:
        new = NewDecision(DecisionKind.REMEDY, ORDERS, "because", incident_id=incident_id)
        decision = await ledger.decide(tx, "incident-response", new)
        assert decision is not None
        found = await remediations.propose(
            tx, incident_id=incident_id, decision_id=decision, playbook="patch-model", subject=ORDERS, plan={}
        )
    return found.id


async def a_history(db: Database) -> None:
    """A resolved incident, an escalated one, one that waits for an answer; work that waits, and work that failed."""
    done = await an_incident(db, "renamed", minutes_ago=3)
    remedy = await a_remedy(db, done)
    states = [RemediationState.PROPOSED, RemediationState.APPROVED, RemediationState.APPLIED, RemediationState.VERIFIED]
    async with db.transaction() as tx:
        for before, after in pairwise(states):
            await remediations.move(tx, remedy, before=[before], after=after)
        for step, after_ in ((IncidentState.OPEN, IncidentState.MITIGATING), (IncidentState.MITIGATING, "verifying")):
            await incidents.move(
                tx, done, before=step, after=IncidentState(after_), by="incident-response", reason="at work"
            )
        await incidents.move(
            tx,
            done,
            before=IncidentState.VERIFYING,
            after=IncidentState.RESOLVED,
            by="incident-response",
            reason="clean",
            first_clean_at=datetime.now(UTC) - timedelta(minutes=1),
            resolution=Resolution.AUTO,
        )
    given_up = await an_incident(db, "dropped", minutes_ago=1)
    asked = await an_incident(db, "ambiguous", minutes_ago=1)
    question = await a_remedy(db, asked)
    async with db.transaction() as tx:
        await escalations.escalate(tx, given_up, "no_playbook: nothing treats it", {})
        found = await remediations.get(tx, question)
        assert found is not None
        await approvals.ask(tx, found, "May it?", 3600)
        await kinds.declare(tx, [kinds.Kind("nobody-here", "remediate")])
        await tasks.enqueue(tx, [NewTask("nobody-here", "remediate", ORDERS)])
        await counters.count(tx, "dataswarm_task_failures_total", {"kind": "sense", "error": "transient"})


@asynccontextmanager
async def replica(url: str, owner: str, directory: Path) -> AsyncIterator[str]:
    """A whole process of the swarm, but for the process: its loops and its door; its address."""
    settings = Settings(
        database=DatabaseSettings(url=SecretStr(url), migrate_url=SecretStr(owner), directory=directory),
        http=HttpSettings(port=0, tokens=(TokenSettings(name="prometheus", token=SecretStr(TOKEN)),)),
    )
    app = await App.open(settings)
    metrics = Metrics(app.database, version="1")
    metrics.spent(Spent("some-model", 100, 20, 0.25))
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    jobs = [
        asyncio.create_task(app.run(stop)),
        asyncio.create_task(serving.serve(app, stop, metrics=metrics, bound=bound.set_result)),
    ]
    try:
        yield (await asyncio.wait_for(bound, PATIENCE)).removeprefix("http://")
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*jobs), PATIENCE)
        await app.close()


@asynccontextmanager
async def prometheus(program: str, directory: Path, targets: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """Prometheus with the configuration and the rules that are shipped, but for where, who and how often."""
    port = free_port()
    shutil.copy(DEPLOY / "dataswarm.rules.yml", directory)
    yaml = YAML(typ="safe")
    config: dict[str, Any] = yaml.load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    every = f"{SCRAPE_SECONDS}s"
    config["global"] = {"scrape_interval": every, "evaluation_interval": every}
    del config["alerting"]
    job = config["scrape_configs"][0]
    assert job.pop("dns_sd_configs")
    job["static_configs"] = [{"targets": targets}]
    job["authorization"]["credentials_file"] = str(directory / "token")
    config["scrape_configs"] = [job]
    (directory / "token").write_text(TOKEN)
    with (directory / "prometheus.yml").open("w") as file:
        yaml.dump(config, file)
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=PIPE,
        stderr=STDOUT,
    )
    assert process.stdout is not None
    said: list[str] = []
    ready = asyncio.Event()
    listening = asyncio.create_task(_follow(process.stdout, said, ready))
    try:
        await asyncio.wait_for(ready.wait(), PATIENCE)
        assert any(UP in line for line in said), "".join(said[-20:])
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
            yield client
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)
        await listening


async def _follow(output: asyncio.StreamReader, said: list[str], ready: asyncio.Event) -> None:
    """Take in what Prometheus says, so that it never waits for us, and notice when it is up, or gone."""
    while line := (await output.readline()).decode(errors="replace"):
        said.append(line)
        if UP in line:
            ready.set()
    ready.set()


async def ask(client: httpx.AsyncClient, expression: str) -> list[dict[str, Any]]:
    """The result of an instant query; its error is the failure's."""
    answer = (await client.get("/api/v1/query", params={"query": expression})).json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


async def one(client: httpx.AsyncClient, expression: str) -> float:
    """The value of a query that has one."""
    [found] = await ask(client, expression)
    return float(found["value"][1])


async def until(client: httpx.AsyncClient, expression: str) -> None:
    """Wait until a query has a result. Prometheus tells nobody when it has scraped, so it is asked."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                if await ask(client, expression):
                    return
                await asyncio.sleep(SCRAPE_SECONDS / 4)
    except TimeoutError:
        raise AssertionError(f"never true: {expression}") from None


async def test_every_panel_shows_something_and_counts_once(
    db: Database, database_url: str, owner_url: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Two replicas, one database: each expression of the dashboard has data, and no row is counted twice."""
    program = tool("prometheus")
    await a_history(db)
    async with (
        replica(database_url, owner_url, tmp_path / "swarm") as first,
        replica(database_url, owner_url, tmp_path / "swarm") as second,
        prometheus(program, tmp_path, [first, second]) as client,
    ):
        await until(client, 'sum(up{job="dataswarm"}) == 2')
        await until(client, "min(dataswarm_processes) == 2 and count(dataswarm_processes) == 2")
        await until(client, "min(dataswarm_agent_up) == 1 and count(dataswarm_agent_up) == 6")
        await until(client, "rate(dataswarm_model_tokens_total[5m])")  # two scrapes: every rate has its data
        empty = [f"{title}: {expression}" for title, expression in expressions() if not await ask(client, expression)]
        assert empty == []

        opened, ended, *_ = of_panel("Incidents per day")
        assert await one(client, opened) == 3  # the first of its kind counts, and no replica counts twice
        how = {r["metric"]["resolution"]: float(r["value"][1]) for r in await ask(client, ended)}
        assert how == {"auto": 1}
        assert sum(float(r["value"][1]) for r in await ask(client, *of_panel("Open incidents"))) == 2
        ratios = await ask(client, *of_panel("Auto-resolution ratio"))
        assert {float(r["value"][1]) for r in ratios} == {1.0}
        assert [float(r["value"][1]) for e in of_panel("Waiting for a human") for r in await ask(client, e)] == [
            1,
            1,
            0,
        ]
        for title in ("Fault to clean, ever", "Fault to clean, last 7 days"):
            assert all([60 < await one(client, e) <= 300 for e in of_panel(title)]), title
        remedies = await ask(client, *of_panel("Remedies by playbook and outcome"))
        assert [(r["metric"]["outcome"], r["value"][1]) for r in remedies] == [("verified", "1")]

        rules = (await client.get("/api/v1/rules")).json()["data"]["groups"]
        assert {r["health"] for group in rules for r in group["rules"]} == {"ok"}, rules
        firing = {r["metric"]["alertname"] for r in await ask(client, 'ALERTS{alertstate="firing"}')}
        assert firing == {"DataswarmWatchdog"}


async def test_what_is_scraped_is_well_formed(
    db: Database, database_url: str, owner_url: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """`promtool check metrics` has nothing to say of a real page."""
    program = tool("promtool")
    await a_history(db)
    async with (
        replica(database_url, owner_url, tmp_path / "a") as address,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client,
    ):
        page = ""
        async with asyncio.timeout(PATIENCE):
            # The rows behind it are read in the background; a page has no way to tell that they were.
            while "dataswarm_agent_heartbeat_age_seconds" not in page:
                await asyncio.sleep(0.05)
                page = (await client.get(f"http://{address}/metrics")).text
    done = await asyncio.create_subprocess_exec(program, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    words, _ = await done.communicate(page.encode())
    complaints = [line for line in words.decode().splitlines() if line.startswith("dataswarm_")]
    assert done.returncode in (0, 3)  # 3: it finds fault with names; those of the Python runtime are not ours
    assert complaints == []
    shown = set(re.findall(r"^(dataswarm_\w+)", page, re.MULTILINE))
    named = {name for _, expression in expressions() for name in re.findall(r"dataswarm_\w+", expression)}
    assert named - shown == set()


def test_the_dashboard_hangs_together() -> None:
    """Panels have their own ids and places, point at the provisioned source, and say what they show."""
    provisioned = YAML(typ="safe").load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8")
    )
    [source] = [s["uid"] for s in provisioned["datasources"]]
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["targets"], panel["title"]
            named = [panel.get("datasource"), *(target.get("datasource") for target in panel["targets"])]
            assert {n["uid"] for n in named if n} == {source}, panel["title"]


SHOWN = ["ratio", "incidents_open", "detect", "resolve", "tasks", "agent_up", "bus_lag", "task_oldest"]
SHOWN += ["task_claim", "task_pickup", "leases_lost", "retries", "listener_gaps", "catch_ups", "partition_horizon"]
SHOWN += ["pinned_xmin", "table_dead_rows", "events_skipped"]


@pytest.mark.parametrize("shown", SHOWN)
def test_the_dashboard_shows_what_it_is_for(shown: str) -> None:
    """Ratio, open incidents, times to detect and resolve, tasks, agents, bus lag, and how the coordination stands."""
    assert any(shown in expression for _, expression in expressions())


def test_rows_are_never_added_up_over_replicas() -> None:
    """A figure that comes from rows stands in a `max` or `min` over instances; `sum` is for a process's own."""
    picked = re.compile(r"(?:max|min) (?:without|by) \([\w, ]+\) \((?:\w+\()?(dataswarm_\w+)")
    words = "model_ tasks_running ready listener leases task_claim_ task_pickup_ tasks_started tasks_finished"
    words += " task_retries agent_leases_lost heartbeats"
    own = tuple(f"dataswarm_{word}" for word in words.split())
    for title, expression in expressions():
        bare = re.findall(r"dataswarm_\w+", picked.sub("", expression))
        assert [name for name in bare if not name.startswith(own)] == [], f"{title}: {expression}"
