"""What finding something costs does not depend on how much is remembered.

20,000 documents by default; `DATASWARM_PLAN_ROWS=1000000` (`make plans`) is the long form.
"""

from __future__ import annotations

import json
import os
from typing import Any

import psycopg
import pytest

from memory.board import ledger
from memory.connection import statements
from memory.connection.database import Database
from memory.finding import recall
from memory.records import Sensitivity

COUNT = int(os.environ.get("DATASWARM_PLAN_ROWS", "20000"))
FILL = """
    INSERT INTO dataswarm.documents (noun, ref, at, agent, kind, subject, whole, sensitivity, text)
    SELECT 'observation', n, timestamptz '2026-01-01' + n * interval '30 seconds', 'agent-' || n %% 500,
           'kind.' || n %% 300, 'warehouse://shop/raw.t' || n %% 1000 || '#c', 'warehouse://shop/raw.t' || n %% 1000,
           CASE WHEN n %% 1000 = 0 THEN 2 ELSE 1 END,
           CASE WHEN n %% 1000 = 0 THEN NULL ELSE 'schema drift common words w' || n %% 2000 || ' n' || n END
    FROM generate_series(1, %(count)s) AS n
"""
NOTHING: dict[str, Any] = {
    "query": "", "vector": None, "model": "", "nouns": None, "kinds": None, "kind_list": None, "kind_from": "",
    "whole": None, "subjects": None, "whole_from": "", "since": None, "agents": None, "branch": "main",
    "reader": None, "threshold": ledger.THRESHOLD, "limit": 10, "deep": 50, "most": 10_000, "now": None,
    "chosen": None, "chosen_at": None,
}  # fmt: skip


def blocks(url: str, name: str, **parameters: Any) -> int:
    """The blocks a statement touches, with all it calls, as the worker in its role."""
    with psycopg.connect(url) as connection:
        connection.execute("SET ROLE dataswarm_confidential")
        query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statements.all()[name]}".encode()
        connection.execute(query, {**NOTHING, **parameters})  # the catalogue's own blocks come first
        row = connection.execute(query, {**NOTHING, **parameters}).fetchone()
        assert row is not None
        plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
        connection.rollback()
        return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.timeout(1800)
async def test_finding_is_cheap(db: Database, database_url: str, owner_url: str) -> None:
    """By asset, agent, kind or time, with words and without: what a few rows need. Words alone: bounded by the cut."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(FILL.encode(), {"count": COUNT})
        owner.execute("VACUUM ANALYZE dataswarm.documents")
        newest = owner.execute("SELECT max(at) - interval '8 hours' FROM dataswarm.documents").fetchone()
        whole = owner.execute("SELECT pg_relation_size('dataswarm.documents') / 8192").fetchone()
    assert newest is not None
    assert whole is not None
    await recall.fold(db)
    each = max(COUNT // 1000, 50)  # about so many documents stand under one asset
    asset = {"whole": "warehouse://shop/raw.t7"}
    pattern = {"subjects": "^(?:warehouse://shop/raw\\.t77#.*)$", "whole_from": "warehouse://shop/raw.t77"}
    for filters, rows in (
        (asset, each),
        (pattern, each),
        ({**asset, "since": newest[0]}, 10),
        ({"agents": ["agent-7"], "since": newest[0]}, 10),
        ({"kinds": "^(?:kind\\.7)$", "kind_list": ["kind.7"], "since": newest[0]}, 10),
        ({"since": newest[0]}, 960),
    ):
        for query in ("", "schema drift", f"n{COUNT - 1} common"):
            assert blocks(database_url, "recall", query=query, **filters) < 400 + 8 * rows, (filters, query)
    assert blocks(database_url, "recall", query="") < 300
    for query in (f"n{COUNT - 1}", "w77 drift", f"n{COUNT - 1} n7 n77"):
        assert blocks(database_url, "recall", query=query, limit=1) < 1500 + 10 * COUNT // 2000, query
    assert blocks(database_url, "recall", query="schema common") < min(60_000, 20 * whole[0])
    assert blocks(database_url, "unsearched", **asset) < 40 + COUNT // 1000
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        answer = await recall.ask(tx, f"n{COUNT - 1}")
        assert answer.found[0].reference.id == COUNT - 1
        assert answer.unsearched == min(COUNT // 1000, 10_000)
