"""The way to a ClickHouse server by HTTP: clickhouse-connect as it is, the engine of chdb behind a small HTTP door.

It is no server: users, passwords and grants are not tried here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from config.errors import PermanentError, SetupError, SwarmError, TransientError
from integrations.base import Statement
from integrations.warehouses.clickhouse import ClickhouseOptions, ClickhouseWarehouse
from tests.clickhouse import RefusedError, run

pytest.importorskip("chdb", reason="chdb is an extra and is not installed")
pytest.importorskip("clickhouse_connect", reason="clickhouse-connect is an extra and is not installed")

_NO_SETTINGS = {"query", "database", "default_format", "client_protocol_version", "query_id", "session_id"}
_NO_SETTINGS |= {"wait_end_of_query", "send_progress_in_http_headers", "http_headers_progress_interval_ms"}


@dataclass
class Door:
    """Where it listens, and the settings of every statement that came in."""

    url: str = ""
    path: Path = Path()
    is_broken: bool = False
    settings: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, sql: str, settings: dict[str, str]) -> tuple[bool, bytes]:
        """Whether it went well, and what came of it."""
        if self.is_broken:
            return False, b"out of order, hunter2"
        # One statement is one session, with its settings; read-only is set last, as a server would hold it.
        ordered = sorted(settings.items(), key=lambda pair: pair[0] == "readonly")
        with self.lock:
            self.settings.append((sql, settings))
            try:
                return True, run(self.path, *(f"set {name} = '{value}'" for name, value in ordered), sql)
            except RefusedError as refused:
                return False, str(refused).encode()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A door to an engine with twenty sales."""
    kept = Door(path=tmp_path / "shop")

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            sql = "\n".join(filter(None, (asked.get("query"), body)))
            went_well, answer = kept.run(sql, {n: v for n, v in asked.items() if n not in _NO_SETTINGS})
            self.send_response(200 if went_well else 500)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    kept.url = f"http://reader:hunter2@127.0.0.1:{server.server_port}/default"
    for statement in (
        "create database shop",
        "create table shop.sales (id Int32, note Nullable(String)) engine = MergeTree order by id",
        "insert into shop.sales select number, if(number % 5, null, 'x') from numbers(1, 20)",
    ):
        assert kept.run(statement, {})[0]
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


def clickhouse(door: Door, **options: object) -> ClickhouseWarehouse:
    """A warehouse by URL."""
    return ClickhouseWarehouse("shop", ClickhouseOptions.model_validate({"url": door.url} | options))


async def test_looks_go_by_http(door: Door) -> None:
    """Catalog, counts and rows come as from the embedded one, every statement of ours is read-only."""
    looking = clickhouse(door, sketch_key="k")
    await looking.open()
    (sales,) = (await looking.catalog()).tables
    assert [(c.name, c.type, c.nullable) for c in sales.columns] == [("id", "integer", False), ("note", "text", True)]
    profile = await looking.profile("shop.sales", sketch=4)
    assert (profile.rows, profile.columns["note"].nulls, len(profile.columns["id"].sketch)) == (20, 16, 4)
    assert await looking.query("select id from shop.sales where note = %s order by id", ["x"], limit=2) == [
        {"id": 5},
        {"id": 10},
    ]
    ours = [settings for _, settings in door.settings if "log_comment" in settings]
    assert len(ours) > 5
    assert {(s["readonly"], s["log_comment"]) for s in ours} == {("2", "dataswarm/reader")}


async def test_errors_of_a_server(door: Door) -> None:
    """What a server refuses is one of our errors, without the password; a door that is shut is tried again."""
    looking = clickhouse(door)
    cases: dict[str, type[SwarmError]] = {
        "select nope from shop.sales": PermanentError,
        "select toInt32('hunter2')": PermanentError,
        "select 1 settings readonly = 0": SetupError,
    }
    for sql, kind in cases.items():
        with pytest.raises(kind) as caught:
            await looking.query(sql)
        assert "hunter2" not in str(caught.value)
    door.is_broken = True
    with pytest.raises(TransientError, match="reached or broke off") as caught:
        await looking.catalog()
    assert "hunter2" not in str(caught.value)


async def test_changes_go_by_http(door: Door) -> None:
    """The actor runs one statement, under the agent's name, and it is done when it returns."""
    acting = clickhouse(door, actor_url=door.url)
    change = Statement("alter table shop.sales update note = %s where id = 1", ("it's 100%",))
    assert await acting.execute([change], agent="incident-response") == [-1]
    assert await acting.query("select note from shop.sales where id = 1") == [{"note": "it's 100%"}]
    settings = next(s for sql, s in door.settings if sql.startswith("alter"))
    assert (settings["log_comment"], settings["mutations_sync"]) == ("dataswarm/incident-response", "2")
    assert "readonly" not in settings
    findings: list[Any] = [f for f in await acting.examine() if "live server" in f.what]
    assert [f.ok for f in findings] == [True]
