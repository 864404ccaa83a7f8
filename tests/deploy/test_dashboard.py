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
from time import monotonic
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from ruamel.yaml import YAML

from config.assets import Asset
from config.settings import DatabaseSettings, HttpSettings, Settings, TokenSettings
from dataswarm import serving
from dataswarm.app import App
from memory import approvals, counters, escalations, incidents, ledger, remediations, tasks
from memory.database import Database
from memory.records import (
    DecisionKind,
    IncidentState,
    NewDecision,
    NewTask,
    RemediationState,
    Resolution,
    Severity,
)
from tests.deploy.conftest import DEPLOY

DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "dataswarm.json").read_text(encoding="utf-8"))
ORDERS = Asset("warehouse", "shop", "raw.orders")
TOKEN = "a-viewer's-token"
PATIENCE = 60.0


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the title of its panel."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


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
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    jobs = [asyncio.create_task(app.run(stop)), asyncio.create_task(serving.serve(app, stop, bound=bound.set_result))]
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
    shutil.copy(DEPLOY / "prometheus" / "dataswarm.rules.yml", directory)
    yaml = YAML(typ="safe")
    config: dict[str, Any] = yaml.load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    job = config["scrape_configs"][0]
    assert job.pop("dns_sd_configs")
    job["static_configs"] = [{"targets": targets}]
    job["authorization"]["credentials_file"] = str(directory / "token")
    config["scrape_configs"] = [job]
    (directory / "token").write_text(TOKEN)
    with (directory / "prometheus.yml").open("w") as file:
        yaml.dump(config, file)
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            yield client
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)


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


async def _is_up(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/-/ready")).is_success
    except httpx.TransportError:
        return False  # it is starting


async def until(client: httpx.AsyncClient, expression: str) -> None:
    """Wait until a query has a result."""
    end = monotonic() + PATIENCE
    while monotonic() < end:
        if await _is_up(client) and await ask(client, expression):
            return
        await asyncio.sleep(0.2)
    raise AssertionError(f"never true: {expression}")


async def test_every_panel_shows_something_and_counts_once(
    db: Database, database_url: str, owner_url: str, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    """Two replicas, one database: each expression of the dashboard has data, and no row is counted twice."""
    program = tool("prometheus")
    await a_history(db)
    async with (
        replica(database_url, owner_url, tmp_path / "a") as first,
        replica(database_url, owner_url, tmp_path / "b") as second,
        prometheus(program, tmp_path, [first, second]) as client,
    ):
        await until(client, 'sum(up{job="dataswarm"}) == 2')
        await until(client, "sum(max by (config) (dataswarm_processes)) == 2 and count(dataswarm_processes) == 2")
        await until(client, "min(max by (agent) (dataswarm_agent_up)) == 1")
        empty = [f"{title}: {expression}" for title, expression in expressions() if not await ask(client, expression)]
        assert empty == []

        by_panel = dict(expressions())
        assert await one(client, by_panel["Incidents opened in the last day, by kind"]) == 3
        assert await one(client, by_panel["Open incidents"]) == 2
        how = await ask(client, by_panel["Incidents ended in the last week, by how"])
        ended = {r["metric"]["resolution"]: float(r["value"][1]) for r in how}
        assert ended == {"auto": 1}
        ratios = await ask(client, by_panel["Auto-resolved"])
        assert {float(r["value"][1]) for r in ratios} == {1.0}
        assert await one(client, "max(dataswarm_escalations_pending)") == 1
        assert await one(client, "max(dataswarm_approvals_pending)") == 1
        [p90] = await ask(client, by_panel["Time to resolve (last week)"])
        assert 60 < float(p90["value"][1]) <= 300
        remedies = await ask(client, by_panel["Remedies in the last week"])
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
        end = monotonic() + PATIENCE
        page = ""
        while "dataswarm_agent_up" not in page and monotonic() < end:
            page = (await client.get(f"http://{address}/metrics")).text
            await asyncio.sleep(0.05)
    done = await asyncio.create_subprocess_exec(program, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    words, _ = await done.communicate(page.encode())
    complaints = [line for line in words.decode().splitlines() if line.startswith("dataswarm_")]
    assert done.returncode in (0, 3)  # 3: it finds fault with names; those of the Python runtime are not ours
    assert complaints == []
    shown = set(re.findall(r"^(dataswarm_\w+)", page, re.MULTILINE))
    named = {name for _, expression in expressions() for name in re.findall(r"dataswarm_\w+", expression)}
    own = {"dataswarm_model_cost_dollars_total"}  # shown once a model was asked
    assert named - shown - own == set()


def test_the_dashboard_hangs_together() -> None:
    """Panels have their own ids and places, point at the provisioned source, and say what they show."""
    provisioned = YAML(typ="safe").load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8")
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
            assert panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == source
            assert all(target["datasource"]["uid"] == source for target in panel["targets"])


@pytest.mark.parametrize("shown", ["ratio", "incidents_open", "detect", "resolve", "tasks", "agent_up", "bus_lag"])
def test_the_dashboard_shows_what_it_is_for(shown: str) -> None:
    """Ratio, open incidents, times to detect and resolve, tasks, agents, bus lag."""
    assert any(shown in expression for _, expression in expressions())


def test_rows_are_never_added_up_over_replicas() -> None:
    """A figure that comes from rows stands inside `max by` or `min by`; `sum` is for what a process counts itself."""
    own = ("dataswarm_model_", "dataswarm_metrics_")
    everything = [*expressions()]
    for title, expression in everything:
        for match in re.finditer(r"(\w+)(?: by \([^)]*\))? ?\((dataswarm_\w+)", expression):
            if not match[2].startswith(own):
                assert match[1] in ("max", "min"), f"{title}: {expression}"
