"""A real MariaDB for the run, started when the first test asks for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.places import fresh_place

SERVER = next((p for p in ("/usr/sbin/mariadbd", shutil.which("mariadbd")) if p and Path(p).exists()), None)
INSTALL = shutil.which("mariadb-install-db")
PASSWORD = "crumbs-and-salt"
SETUP = f"""
create database shop character set utf8mb4 collate utf8mb4_general_ci;
create database hidden;
create user reader identified by '{PASSWORD}';
create user actor identified by '{PASSWORD}';
create user mighty identified by '{PASSWORD}';
grant select, show view on shop.* to reader;
grant select, insert, update, delete, create, drop on shop.* to actor;
grant all on *.* to mighty;
create table shop.bakers (id integer primary key, name varchar(40) not null);
create table shop.sales (
  id integer primary key, baker_id integer references bakers (id), amount numeric(10, 2) not null default 0,
  note varchar(40), sold_at timestamp not null default current_timestamp);
insert into shop.bakers values (1, 'Ada'), (2, 'Bo');
insert into shop.sales (id, baker_id, amount, note)
  select seq, 1 + seq % 2, seq, case when seq % 5 = 0 then concat('n', seq) end from seq_1_to_20;
"""


@dataclass(frozen=True)
class Server:
    """A MariaDB of the tests, reached by its socket and by a port."""

    room: Path
    port: int

    def url(self, role: str, *, database: str = "shop", password: str = PASSWORD) -> str:
        """How a role connects."""
        return f"mysql://{role}:{password}@/{database}?unix_socket={self.room}/s"

    def connect(self, database: str = "shop") -> Any:
        """A connection of the team's; what never leaves the machine needs no TLS."""
        return import_module("pymysql").connect(
            unix_socket=f"{self.room}/s", user="root", database=database, autocommit=True, ssl_disabled=True
        )

    def run(self, script: str, *, database: str = "shop") -> list[Any]:
        """Run SQL as the team does; the rows of the last statement."""
        connection = self.connect(database)
        rows: list[Any] = []
        with connection, connection.cursor() as cursor:
            for statement in filter(str.strip, script.split(";\n")):
                cursor.execute(statement.strip().rstrip(";"))
                rows = list(cursor.fetchall())
        return rows


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def serving(setup: str, *settings: str) -> Iterator[Server]:
    """A real MariaDB as an unprivileged process, ready when it says so."""
    pytest.importorskip("pymysql", reason="the extra `mysql` is not installed")
    if SERVER is None or INSTALL is None:
        pytest.skip("no mariadbd on this machine (Debian: mariadb-server)")
    room = fresh_place("dsm")
    user = ["--user=mysql"] if os.geteuid() == 0 else []
    if user:
        room.chmod(0o711)
        shutil.chown(room, "mysql")
    data = f"--datadir={room}/data"
    options = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run([INSTALL, "--no-defaults", *user, data, *options], capture_output=True, check=True)
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
        news.bind(f"{room}/news")
        Path(f"{room}/news").chmod(0o777)
        news.settimeout(60)
        process = subprocess.Popen(
            [
                *(SERVER, "--no-defaults", *user, data, f"--socket={room}/s", f"--pid-file={room}/pid"),
                *(f"--port={port}", "--bind-address=127.0.0.1", f"--log-error={room}/log"),
                *(
                    "--innodb-flush-log-at-trx-commit=0",
                    "--innodb-buffer-pool-size=32M",
                    "--sql-mode=STRICT_TRANS_TABLES",
                ),
                *settings,
            ],
            env=os.environ | {"NOTIFY_SOCKET": f"{room}/news"},
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in news.recv(4096):
                pass
            server = Server(room, port)
            server.run(setup, database="mysql")
            yield server
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(room)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    """The server of the run, without TLS."""
    with serving(SETUP) as server:
        yield server
