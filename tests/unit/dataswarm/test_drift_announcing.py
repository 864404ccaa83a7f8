"""Changes announced ahead: by a file, over HTTP, by merged pull requests."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from config.errors import UsageError
from config.settings import Settings
from dataswarm.drifting import announcing
from memory.board import controls
from memory.connection.database import Database
from tests.unit.dataswarm.door import OPERATOR, TOKENS, VIEWER, application, caller
from tests.unit.dataswarm.program import Program, program

__all__ = ["program"]
EXAMPLES = Path(__file__).with_name("pull_requests")
SECRET = "a-shared-secret-of-this-test"
PLAN = """\
- asset: warehouse://shop/raw.orders
  kind: schema.*
  for: 2h
  reason: release 7
- asset: warehouse://shop/raw.*
  until: 2999-01-01T00:00+01:00
  from: 2998-12-31
  by: maria
"""


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_announced_once(program: Program, tmp_path: Path) -> None:
    """The same file again changes nothing, and says so."""
    (tmp_path / "plan.yaml").write_text(PLAN.split("- asset: warehouse://shop/raw.*", maxsplit=1)[0])
    first = program.json("planned-change", "import", str(tmp_path / "plan.yaml"), "--as", "nina")
    assert first["new"] == 1
    assert first["planned_changes"][0]["by"] == "nina"
    again = program("planned-change", "import", str(tmp_path / "plan.yaml"), "--as", "nina")
    assert "announced already" in again.output
    assert len(program.json("planned-change", "list")["planned_changes"]) == 1


@pytest.mark.parametrize("head", ["", "# next release\n", "planned_changes:\n"])
def test_the_forms_of_a_file(head: str) -> None:
    """A list, one after a comment, one below its key; times with and without a zone."""
    one, other = announcing.read(head + PLAN, "plan.yaml")
    assert (one.pattern, one.kind, one.seconds, one.reason) == (
        "warehouse://shop/raw.orders",
        "schema.*",
        7200,
        "release 7",
    )
    assert other.starts_at == datetime(2998, 12, 31, tzinfo=UTC)
    assert other.ends_at is not None
    assert other.ends_at.utcoffset() == timedelta(hours=1)
    assert other.kind == "*"
    flow = announcing.read('[{asset: "warehouse://shop/raw.x",\nfor: 1d}]', "plan.yaml")
    assert [one.seconds for one in flow] == [86_400]


WRONG = """\
- asset: raw.orders
  for: 2 parsecs
- asset: warehouse://shop/raw.x
  til: tomorrow
- kind: 7
  for: 1h
  until: 2999-01-01
- just words
- asset: warehouse://shop/raw.y
  from: 2999-01-02
  until: 2999-01-01
"""


def test_all_that_is_wrong_is_said_at_once(program: Program, tmp_path: Path) -> None:
    """Each with its line and the nearest key; nothing is announced then."""
    (tmp_path / "plan.yaml").write_text(WRONG)
    result = program("planned-change", "import", str(tmp_path / "plan.yaml"))
    assert result.exit_code == 2
    for line, says in (
        (1, "is no asset reference"),
        (2, "not a length of time"),
        (4, "unknown key 'til' (did you mean 'until'?)"),
        (3, "should say either for (2h) or until"),
        (5, "kind should be a text"),
        (5, "says no asset"),
        (8, "should be a mapping"),
        (11, "is before it begins"),
    ):
        assert any(f"plan.yaml:{line}: " in said and says in said for said in result.stderr.splitlines()), (line, says)
    assert program.json("planned-change", "list")["planned_changes"] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- asset: [", "not valid YAML"),
        ("plans: []", "unknown key 'plans'"),
        ("just words", "should be a mapping"),
        ("planned_changes: 7", "should be a list"),
        ("- asset: ${SECRET_PLACE}\n  for: 1h", "SECRET_PLACE"),
    ],
)
def test_files_that_are_none(text: str, says: str) -> None:
    """Said with the file's name."""
    with pytest.raises(UsageError, match=r"plan\.yaml") as caught:
        announcing.read(text, "plan.yaml")
    assert says in caught.value.message


def test_a_file_that_is_not_there(program: Program, tmp_path: Path) -> None:
    """Your mistake: a sentence, and exit status 2."""
    assert "cannot be read" in program("planned-change", "import", str(tmp_path / "none.yaml")).stderr
    (tmp_path / "latin.yaml").write_bytes(b"- asset: caf\xe9")
    assert "is not UTF-8" in program("planned-change", "import", str(tmp_path / "latin.yaml")).stderr


async def test_what_is_over_is_refused(db: Database) -> None:
    """An announcement lasts, from now on, a year at most; of several, one wrong writes none."""
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    good = announcing.Announcement("warehouse://shop/raw.a", seconds=60)
    for bad in (
        announcing.Announcement("warehouse://shop/raw.b", ends_at=now - timedelta(hours=1)),
        announcing.Announcement("warehouse://shop/raw.b", seconds=10, starts_at=now - timedelta(hours=1)),
        announcing.Announcement("warehouse://shop/raw.b", seconds=2 * 366 * 86_400),
        announcing.Announcement("warehouse://shop/raw.b"),
        announcing.Announcement("orders", seconds=60),
    ):
        with pytest.raises(UsageError):
            await announcing.announce(db, [good, bad], by="nina", now=now)
    async with db.transaction() as tx:
        assert await controls.planned(tx) == []


# --- over HTTP ------------------------------------------------------------------------------------------------------


async def test_announced_over_http(db: Database) -> None:
    """As other deeds: an operator's token, whose name is written down; again is the same; nonsense is refused."""
    app = application(db, _settings(tokens=True))
    body = {"pattern": "warehouse://shop/raw.orders", "kind": "schema.*", "seconds": 3600, "reason": "release 7"}
    async with caller(app, token=OPERATOR) as operator, caller(app, token=VIEWER) as viewer:
        done = await operator.post("/api/planned-changes", json={**body, "by": "mallory"})
        assert done.status_code == 200, done.text
        assert (done.json()["by"], done.json()["is_new"]) == ("nina", True)
        assert (await operator.post("/api/planned-changes", json=body)).json()["is_new"] is False
        assert (await viewer.post("/api/planned-changes", json=body)).status_code == 403
        assert (await operator.post("/api/planned-changes", json={**body, "pattern": "orders"})).status_code == 400
        assert (await operator.post("/api/planned-changes", json={**body, "seconds": -1})).status_code == 400
        assert (await operator.post("/api/planned-changes", json={**body, "until": "x"})).status_code == 422
    async with db.transaction() as tx:
        assert [c.kind for c in await controls.planned(tx)] == ["schema.*"]


# --- merged pull requests -------------------------------------------------------------------------------------------


def _settings(*, secret: str | None = SECRET, tokens: bool = False) -> Settings:
    http: dict[str, Any] = {"pull_requests": {"secret": secret, "hours": 12}}
    if tokens:
        http["tokens"] = [t.model_dump() | {"token": t.token.get_secret_value()} for t in TOKENS]
    sources = {"shop": {"kind": "postgres", "options": {"url": "postgresql://x@/y"}}}
    return Settings.model_validate({"http": http, "sources": sources})


def example(name: str, **changes: Any) -> bytes:
    """An example of a payload, made after the documented shape; `changes` go into its request."""
    payload = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    payload["pull_request" if "pull_request" in payload else "object_attributes"] |= changes
    return json.dumps(payload).encode()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """GitHub's headers."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Event": "pull_request", "X-Hub-Signature-256": f"sha256={digest}"}


async def send(app: FastAPI, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """As the host of the repository sends it: from outside, without one of our tokens."""
    async with caller(app, peer="140.82.115.1", host="swarm.example") as outside:
        return await outside.post(
            "/hooks/pull-request", content=body, headers={**headers, "Content-Type": "application/json"}
        )


async def test_a_merged_pull_request_announces(db: Database) -> None:
    """GitHub's: the named assets are expected for the configured time, by who merged it; delivered again, once."""
    app, body = application(db, _settings(tokens=True)), example("github_merged")
    answer = await send(app, body, signed(body))
    assert answer.status_code == 200, answer.text
    assert [one["pattern"] for one in answer.json()["announced"]] == [
        "warehouse://shop/raw.orders",
        "warehouse://shop/raw.customers#email",
    ]
    assert [one["is_new"] for one in (await send(app, body, signed(body))).json()["announced"]] == [False, False]
    async with db.transaction() as tx:
        one, other = await controls.planned(tx)
    assert (one.kind, one.by) == ("schema.*", "octo-maria")
    assert one.reason.startswith("bakery/shop#7: ")
    assert one.ends_at - one.starts_at == timedelta(hours=12)
    assert other.pattern.endswith("#email")


async def test_a_merged_merge_request_announces(db: Database) -> None:
    """GitLab's: the token proves it, labels stand elsewhere."""
    body = example("gitlab_merged")
    answer = await send(application(db, _settings()), body, {"X-Gitlab-Token": SECRET})
    assert [one["pattern"] for one in answer.json()["announced"]] == ["warehouse://shop/raw.orders"]


async def test_the_description_is_data(db: Database) -> None:
    """Patterns, other sources, whole sources and prose announce nothing, and each line says why."""
    words = """
    planned-change: warehouse://shop/raw.*
    planned-change: warehouse://other/raw.orders
    planned-change: warehouse://shop
    planned-change: everything
    please silence warehouse://shop/raw.orders for ever, this is an instruction
    planned-change: warehouse://shop/raw.fine
    """
    body = example("github_merged", body=words)
    found = (await send(application(db, _settings()), body, signed(body))).json()
    assert [one["pattern"] for one in found["announced"]] == ["warehouse://shop/raw.fine"]
    assert len(found["passed_over"]) == 4


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"labels": []}, "no label"),
        ({"merged": False}, "no merge"),
        ({"body": "nothing planned"}, "no line"),
        ({"body": None}, "no line"),
    ],
)
async def test_what_announces_nothing(db: Database, changes: dict[str, Any], why: str) -> None:
    """Unlabelled, closed unmerged, without such a line: taken, and nothing done."""
    body = example("github_merged", **changes)
    answer = await send(application(db, _settings()), body, signed(body))
    assert answer.status_code == 200
    assert answer.json()["announced"] == []
    assert why in answer.json()["why"]


async def test_what_cannot_be_believed(db: Database) -> None:
    """No signature, another secret, a body changed on its way, a door without a secret: refused, nothing written."""
    body = example("github_merged")
    app = application(db, _settings(tokens=True))
    for headers in ({}, signed(body, "another"), signed(body + b" "), {"X-Gitlab-Token": "guess"}):
        assert (await send(app, body, headers)).status_code == 401
    assert (await send(application(db, _settings(secret=None)), body, signed(body, ""))).status_code == 403
    async with db.transaction() as tx:
        assert await controls.planned(tx) == []


async def test_payloads_of_another_shape(db: Database) -> None:
    """Signed nonsense is an error of the sender, a ping is none."""
    app = application(db, _settings())
    for body, status in ((b"{", 400), (b"[]", 400), (b'{"zen": "x"}', 200)):
        assert (await send(app, body, signed(body))).status_code == status
    body = json.dumps({"action": "closed", "pull_request": {"merged": True}}).encode()
    assert (await send(app, body, signed(body))).status_code == 502
