"""What tests of drift stand on: a shop's database, its DDL as files, and a real dbt manifest over it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from agents.structure.known import structure_of
from agents.structure.parts import as_parts
from dataswarm.drifting.resolving import WATCHER
from integrations.declared import read_ddl
from memory.board import baselines
from memory.connection.database import Database
from memory.server.embedded import EmbeddedServer
from tests.once import once
from tests.unit.dataswarm.program import Program, write_config

PROJECT = Path(__file__).parents[2] / "conformance" / "dbt_project"
DDL = """
create schema raw;
create type raw.mood as enum ('fresh', 'stale');
create table raw.bakers (id bigint primary key, name text not null, hired_at timestamptz);
create table raw.sales (
    id bigint primary key, baker_id bigint references raw.bakers (id), amount numeric(10, 2) not null default 0,
    sold_at timestamptz, note varchar(50), kind raw.mood
);
create index sales_by_time on raw.sales (sold_at);
"""
CONTRACT = """
version: 2
models:
  - name: promised
    config: { materialized: table, contract: { enforced: true } }
    columns:
      - { name: id, data_type: bigint, constraints: [{ type: not_null }] }
      - { name: amount, data_type: "numeric(10,2)", description: what was paid }
"""
TESTED = "          - name: id\n            data_tests: [unique]\n"
DESCRIBED = "          - { name: amount, data_type: 'numeric(10,2)' }\n"


@pytest.fixture
def shop_url(server: EmbeddedServer) -> Iterator[str]:
    """A database of the shop, as its owner; gone afterwards."""
    name = f"s_{uuid4().hex[:12]}"
    server.create_database(name)
    url = server.url_for(database=name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(DDL.encode())
    yield url
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two states of the shop as DDL: in the later one a column is renamed, one is rounded and one is gone."""
    (tmp_path / "before.sql").write_text(DDL, encoding="utf-8")
    after = DDL.replace("baker_id", "sold_by_baker_id").replace("numeric(10, 2)", "numeric(10, 0)")
    (tmp_path / "after.sql").write_text(after.replace(", note varchar(50)", ""), encoding="utf-8")
    return tmp_path


@pytest.fixture
def shop(program: Program, shop_url: str) -> Program:
    """The program with the shop as a source."""
    write_config(program, sources={"shop": {"kind": "postgres", "url": shop_url}})
    return program


def run(url: str, *statements: str) -> None:
    """Change the shop."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def manifest(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of the bakery's project with a contract beside, compiled by real dbt; only to be read."""
    return once(tmp_path_factory, "drift-bakery", partial(_compiled, server)) / "target" / "manifest.json"


def _compiled(server: EmbeddedServer, directory: Path) -> None:
    name = f"d_{uuid4().hex[:12]}"
    server.create_database(name)
    run(server.url_for(database=name), *DDL.strip().split(";\n")[:-1])
    shutil.copytree(PROJECT, directory)
    (directory / "models" / "promised.sql").write_text("select id, amount from {{ ref('stg_sales') }}\n")
    (directory / "models" / "promised.yml").write_text(CONTRACT)
    about = directory / "models" / "models.yml"
    about.write_text(about.read_text().replace(TESTED, TESTED + DESCRIBED, 1))
    place = {"BAKERY_HOST": str(server.socket_directory), "BAKERY_USER": "postgres", "BAKERY_DATABASE": name}
    step = "import sys; from dbt.cli.main import dbtRunner; sys.exit(not dbtRunner().invoke(['compile']).success)"
    done = subprocess.run(
        [sys.executable, "-c", step],
        cwd=directory,
        env=os.environ | place | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def save(database: Database, source: str, ddl: str, *, name: str = "", expected: int = 0) -> int:
    """Keep a structure as a revision of a source's baseline, perhaps under a name."""
    parts = as_parts(structure_of(read_ddl(ddl, "postgres")))
    async with database.transaction() as tx:
        held = {part: value for part, value in parts.items() if part != "invisible"}
        made = await baselines.swap(tx, WATCHER, source, {"value": {"shape": 2, "open": []}}, expected, held)
        if name:
            await baselines.name(tx, WATCHER, source, made.version, name, "maria")
    return made.version
