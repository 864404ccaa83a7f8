"""The door over HTTP, with a real memory behind it."""

from __future__ import annotations

import json
from itertools import product
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from config.errors import ConflictError, PermanentError, SetupError, TransientError
from dataswarm import operations, views
from memory.board import approvals, controls, incidents
from memory.connection.database import Database
from memory.records import RemediationState
from tests.memory.stage import ORDERS, advanced, opened, proposed
from tests.unit.dataswarm.door import OPERATOR, TOKENS, VIEWER, application, caller, doors, settings

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'; drop table x"


async def _incident(db: Database, **more: Any) -> int:
    async with db.transaction() as tx:
        return (await opened(tx, **more)).id


async def test_probes_are_open_and_say_little(db: Database) -> None:
    """No token, from anywhere: alive, ready, and nothing else."""
    app = application(db, settings(tokens=TOKENS))
    async with caller(app, peer="10.0.0.7", host="10.1.1.1:8321") as probe:
        alive, ready = await probe.get("/healthz"), await probe.get("/readyz")
        assert (await probe.head("/readyz")).status_code == 200
    assert (alive.status_code, alive.json()) == (200, {"source": "live", "alive": True})
    assert ready.json() == {"source": "live", "ready": True, "checks": {"database": True}}


async def test_not_ready_is_503(db: Database) -> None:
    """With what is missing."""

    async def health() -> dict[str, Any]:
        return {"ready": False, "checks": {"database": False, "swarm": True}}

    async with caller(application(db, health=health)) as probe:
        answer = await probe.get("/readyz")
        assert (await probe.get("/healthz")).status_code == 200
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": False, "swarm": True}


async def test_without_tokens_others_are_refused_everywhere(db: Database) -> None:
    """Console, API, metrics, stream, assets: only this machine, and only under its own name."""
    app = application(db)
    paths = ("/", "/api/status", "/metrics", "/events", "/static/console.css", "/incidents/1", "/nowhere")
    async with caller(app, peer="10.0.0.7") as stranger, caller(app, host="evil.example") as rebound:
        for who, path in product((stranger, rebound), paths):
            answer = await who.get(path)
            assert answer.status_code == 403, path
            assert answer.json()["error"] == "forbidden"
            assert "http.tokens" in answer.json()["hint"]
            assert answer.headers["X-Dataswarm-Source"] == "live"


async def test_with_tokens_everybody_needs_one(db: Database) -> None:
    """Also this machine; a browser is asked for it."""
    app = application(db, settings(tokens=TOKENS))
    async with caller(app) as nobody, caller(app, peer="10.0.0.7", host="swarm.example", token=VIEWER) as viewer:
        for path in ("/", "/api/status", "/metrics", "/static/console.js", "/api/openapi.json"):
            refused = await nobody.get(path)
            assert refused.status_code == 401, path
            assert refused.headers["WWW-Authenticate"].startswith("Basic")
            assert (await viewer.get(path)).status_code == 200, path


async def test_a_viewer_changes_nothing(db: Database) -> None:
    """Every deed is refused to it, and the console offers it none."""
    number = await _incident(db)
    app = application(db, settings(tokens=TOKENS))
    async with caller(app, token=VIEWER) as viewer:
        schema = (await viewer.get("/api/openapi.json")).json()
        posts = [
            path.replace("{incident_id}", str(number)) for path, deeds in schema["paths"].items() if "post" in deeds
        ]
        assert len(posts) >= 11
        for path in posts:
            assert (await viewer.post(path.replace("{remediation_id}", "1"), json={})).status_code == 403
        assert "data-post" not in (await viewer.get("/")).text
        assert "data-post" not in (await viewer.get(f"/incidents/{number}")).text


async def test_changed_tokens_take_effect_at_once(db: Database) -> None:
    """Settings are asked for at every request."""
    chosen = settings(tokens=TOKENS)
    app = application(db, settings=lambda: chosen)
    async with caller(app, token=VIEWER) as viewer:
        assert (await viewer.get("/api/status")).status_code == 200
        chosen = settings(tokens=TOKENS[1:])
        assert (await viewer.get("/api/status")).status_code == 401


async def test_the_name_of_a_deed_is_the_tokens(db: Database) -> None:
    """Nobody signs as somebody else where names are proven; where they are not, whoever sits there says."""
    number = await _incident(db)
    for app, token, expected in (
        (application(db, settings(tokens=TOKENS)), OPERATOR, "nina"),
        (application(db), "", "mallory"),
    ):
        async with caller(app, token=token) as operator:
            answer = await operator.post(f"/api/incidents/{number}/ack", json={"by": "mallory"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["acknowledged_by"] == expected


async def test_deeds_are_done(db: Database) -> None:
    """Approve, undo, deny, false positive, close, silence, kill switch: each reaches the memory."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        remedy = await proposed(tx, incident)
        await approvals.ask(tx, remedy, "may it?", 600)
    app = application(db)
    async with caller(app) as operator:

        async def post(path: str, **body: Any) -> httpx.Response:
            return await operator.post(path, json=body)

        approved = await post(f"/api/incidents/{incident.id}/approve")
        assert approved.status_code == 200, approved.text
        assert approved.json()["source"] == "live"
        assert (await post(f"/api/incidents/{incident.id}/approve")).status_code == 400  # nothing waits any more
        async with db.transaction() as tx:
            await advanced(tx, remedy, RemediationState.APPROVED, RemediationState.APPLIED)
        undone = await post(f"/api/remediations/{remedy.id}/undo")
        assert undone.json()["task_id"] > 0
        assert (await post(f"/api/remediations/{remedy.id}/undo")).status_code == 409
        other = await _incident(db, fingerprint="other")
        assert (await post(f"/api/incidents/{other}/false-positive", reason="a test")).status_code == 200
        third = await _incident(db, fingerprint="third")
        assert (await post(f"/api/incidents/{third}/close", reason="")).status_code == 400
        assert (await post(f"/api/incidents/{third}/close", reason="done by hand")).status_code == 200
        silenced = await post("/api/silences", pattern="warehouse://shop/raw.*", seconds=3600, reason="moving")
        assert silenced.json()["pattern"] == "warehouse://shop/raw.*"
        assert (await post("/api/kill-switch", on=True)).status_code == 400
        assert (await post("/api/kill-switch", on=True, reason="month end")).status_code == 200
        status = (await operator.get("/api/status")).json()
    assert status["kill_switch"] == "month end"
    assert [one["pattern"] for one in status["silences"]] == ["warehouse://shop/raw.*"]
    async with db.transaction() as tx:
        assert await controls.kill_switch(tx) == "month end"
        ended = await incidents.get(tx, third)
    assert ended is not None
    assert ended.state == "closed"


async def test_denying_reaches_the_approval(db: Database) -> None:
    """The remedy is refused."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        await approvals.ask(tx, await proposed(tx, incident), "may it?", 600)
    async with caller(application(db)) as operator:
        answer = await operator.post(f"/api/incidents/{incident.id}/deny", json={"reason": "not today"})
    assert answer.json()["approval"]["state"] == "denied"


async def test_what_is_not_there_is_404(db: Database) -> None:
    """With what there is."""
    await _incident(db)
    hints = {
        "/api/incidents/99/ack": "the latest are",
        "/api/incidents/99/approve": "the latest are",
        "/api/remediations/99/undo": "incidents list",
    }
    async with caller(application(db)) as operator:
        for path, hint in hints.items():
            answer = await operator.post(path, json={})
            assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), path
            assert hint in answer.json()["hint"]
        assert (await operator.get("/api/incidents/99")).status_code == 404


MALFORMED: tuple[tuple[str, Any], ...] = (
    ("/api/incidents/1/ack", {"reasn": "x"}),
    ("/api/incidents/0/ack", {}),
    ("/api/incidents/99999999999999999999/ack", {}),
    ("/api/incidents/x/ack", {}),
    ("/api/silences", {"pattern": "", "seconds": 1}),
    ("/api/silences", {"pattern": "a://b", "seconds": "long"}),
    ("/api/kill-switch", {}),
    ("/api/kill-switch", []),
    ("/api/incidents/1/ack", {"by": "x" * 101}),
)


async def test_malformed_requests_are_422(db: Database) -> None:
    """In the one shape of errors, without the values."""
    async with caller(application(db)) as operator:
        for path, body in MALFORMED:
            answer = await operator.post(path, json=body)
            assert answer.status_code == 422, (path, body)
            assert set(answer.json()) == {"error", "message", "hint", "source"}


async def test_impossible_lengths_are_refused(db: Database) -> None:
    """JSON of Python's sort knows NaN; no silence of that length is made."""
    async with caller(application(db)) as operator:
        for seconds in ("NaN", "Infinity", "-1", "0", "1e300"):
            answer = await operator.post(
                "/api/silences",
                content=f'{{"pattern": "warehouse://shop/*", "seconds": {seconds}}}',
                headers={"Content-Type": "application/json"},
            )
            assert 400 <= answer.status_code < 500, seconds
    async with db.transaction() as tx:
        assert await controls.silences(tx) == []


async def test_not_json_too_long_and_no_route(db: Database) -> None:
    """Refused before anything is read."""
    async with caller(application(db)) as operator:
        form = await operator.post("/api/kill-switch", data={"on": "true"})
        assert form.status_code == 403
        assert "application/json" in form.json()["hint"]
        long = await operator.post("/api/kill-switch", json={"on": True, "reason": "x" * 70_000})
        assert (long.status_code, long.json()["error"]) == (413, "too_large")
        broken = await operator.post("/api/kill-switch", content=b"{", headers={"Content-Type": "application/json"})
        assert broken.status_code == 422
        assert (await operator.get("/api/nothing")).json()["error"] == "not_found"
        assert (await operator.get("/api/kill-switch")).status_code == 405
        assert (await operator.get("/static/../api.py")).status_code == 404


ERRORS: tuple[tuple[Exception, int, str], ...] = (
    (TransientError("the memory is away", hint="wait"), 503, "transient"),
    (ConflictError("somebody was first"), 409, "conflict"),
    (PermanentError("no"), 500, "permanent"),
    (SetupError("a role lacks a right"), 500, "setup"),
    (RuntimeError("password=hunter2"), 500, "internal"),
)


async def test_errors_of_the_tree_become_answers(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its status, code and hint; a bug quotes nothing."""
    async with caller(application(db, settings(demo=True))) as operator:
        for error, status, code in ERRORS:
            monkeypatch.setattr(views, "status", AsyncMock(side_effect=error))
            answer = await operator.get("/api/status")
            assert (answer.status_code, answer.json()["error"]) == (status, code)
            assert answer.headers["X-Dataswarm-Source"] == "demo"
            assert answer.json()["source"] == "demo"
            assert "hunter2" not in answer.text


async def test_every_answer_says_where_it_comes_from(db: Database) -> None:
    """Live or demo, in the header of each and in each object."""
    await _incident(db)
    for demo, source in ((False, "live"), (True, "demo")):
        async with caller(application(db, settings(demo=demo))) as reader:
            for path in ("/healthz", "/readyz", "/api/status", "/api/incidents", "/api/incidents/1"):
                answer = await reader.get(path)
                assert answer.json()["source"] == source, path
                assert answer.headers["X-Dataswarm-Source"] == source
            for path in ("/", "/metrics", "/static/console.css", "/nowhere"):
                assert (await reader.get(path)).headers["X-Dataswarm-Source"] == source, path
            assert ("DEMO" in (await reader.get("/")).text) is demo


async def test_lists_and_details(db: Database) -> None:
    """The open ones, all of them, one with everything."""
    first, second = await _incident(db), await _incident(db, fingerprint="second")
    await operations.close(db, first, "done", by="nina")
    async with caller(application(db)) as reader:
        alive = (await reader.get("/api/incidents")).json()["incidents"]
        everything = (await reader.get("/api/incidents", params={"all": "1"})).json()["incidents"]
        one = (await reader.get(f"/api/incidents/{first}")).json()
        assert (await reader.get("/api/incidents", params={"limit": "0"})).status_code == 422
    assert [i["id"] for i in alive] == [second]
    assert [i["id"] for i in everything] == [second, first]
    assert one["resolution"] == "human"
    assert [step["after"] for step in one["timeline"]] == ["open", "closed"]


async def test_metrics_are_a_route(db: Database) -> None:
    """No redirect; the content type Prometheus asks for."""
    known = doors(db)
    await known.metrics.refresh()
    async with caller(application(db, metrics=known.metrics)) as scraper:
        answer = await scraper.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert "dataswarm_kill_switch_on" in answer.text


async def test_what_data_says_stays_text(db: Database) -> None:
    """Markup in a title, a reason, an asset is shown, never run; nothing inline could run anyway."""
    async with db.transaction() as tx:
        incident = await opened(tx, title=HOSTILE, reason=HOSTILE, owner=HOSTILE, details={"note": HOSTILE})
        remedy = await proposed(tx, incident)
        await approvals.ask(tx, remedy, HOSTILE, 600)
        await controls.silence(tx, str(ORDERS), 600, HOSTILE, HOSTILE)
        await controls.set_kill_switch(tx, True, "nina", HOSTILE)
    async with caller(application(db)) as reader:
        pages = [await reader.get("/"), await reader.get(f"/incidents/{incident.id}")]
        assert (await reader.get("/incidents/99")).status_code == 404
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "&lt;script&gt;" in page.text
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]


async def test_the_console_needs_nothing_from_elsewhere(db: Database) -> None:
    """Every address in the pages and assets is this server's; the schema page that loads from elsewhere is off."""
    await _incident(db)
    async with caller(application(db)) as reader:
        texts = [(await reader.get(p)).text for p in ("/", "/incidents/1", "/static/console.css", "/static/console.js")]
        assert (await reader.get("/docs")).status_code == 404
    for text in texts:
        assert "https://" not in text
        assert "http://" not in text
        assert "//cdn" not in text
        assert json.dumps("style=")[1:-1] not in text


async def test_the_page_of_an_incident_tells_its_story(db: Database) -> None:
    """Title, timeline, remedy with its way back, and the buttons that fit its state."""
    async with db.transaction() as tx:
        incident = await opened(tx)
        remedy = await proposed(tx, incident)
        await approvals.ask(tx, remedy, "may the model be patched?", 600)
    async with caller(application(db)) as operator:
        text = (await operator.get(f"/incidents/{incident.id}")).text
        assert "orders are broken" in text
        assert "may the model be patched?" in text
        assert f'data-post="/api/incidents/{incident.id}/approve"' in text
        assert f"/api/remediations/{remedy.id}/undo" not in text
        async with db.transaction() as tx:
            await advanced(tx, remedy, RemediationState.APPROVED, RemediationState.APPLIED)
        assert f"/api/remediations/{remedy.id}/undo" in (await operator.get(f"/incidents/{incident.id}")).text
        await operations.close(db, incident.id, "done", by="nina")
        assert "/close" not in (await operator.get(f"/incidents/{incident.id}")).text
