"""What a fact, its past, a learning and a line of the access log cost does not depend on how much is known.

20,000 of each by default; `DATASWARM_PLAN_ROWS=1000000` (`make plans`) is the long form.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.plans.test_recall_plan import COUNT, FILL, blocks

SUBJECT = "warehouse://shop/raw.t7"
LAST = chr(0x10FFFF)
KNOWN = """
    INSERT INTO dataswarm.{table} (branch, subject, predicate, object, version, agent, confidence, sensitivity,
                                   source, evidence, valid_from, retracted, reason)
    SELECT 'main', 'warehouse://shop/raw.t' || n / 10, 'p' || n %% 10, '1', version, 'agent-' || n %% 500, 1, 1, '',
           '[]', timestamptz '2026-01-01' + n * interval '30 seconds', false, ''
    FROM generate_series(1, %(count)s) AS n, generate_series({first}, 3) AS version
"""
LEARNED = """
    INSERT INTO dataswarm.learnings (at, agent, signal, playbook, cause, subject, text, circumstances, sensitivity)
    SELECT now(), 'agent-1', (ARRAY['success', 'failure', 'pattern'])[1 + n %% 3], 'playbook-' || n %% 200,
           'cause-' || n %% 500, 'warehouse://shop/raw.t' || n, 'worked', '{}', 1
    FROM generate_series(1, %(count)s) AS n
"""
READ = """
    INSERT INTO dataswarm.access_log (at, who, verb, noun, ref, query)
    SELECT now() - n * interval '1 millisecond', 'agent-' || n %% 500, 'read', 'fact', (n %% 2000)::text, ''
    FROM generate_series(1, %(count)s) AS n
"""
SEALED = """
    INSERT INTO dataswarm.data_keys (id, key_id, wrapped, noun, at)
    SELECT md5(n::text)::uuid, 'k' || n %% 3, 'x', 'fact', now() FROM generate_series(1, %(count)s) AS n
"""


@pytest.fixture
def known(owner_url: str, database_url: str) -> str:
    """The worker's address of a database that knows much."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        for statement in (
            FILL,
            KNOWN.format(table="knowledge", first=3),
            KNOWN.format(table="knowledge_revisions", first=1),
            LEARNED,
            READ,
            SEALED,
        ):
            owner.execute(statement.encode(), {"count": COUNT})
        for table in ("documents", "knowledge", "knowledge_revisions", "learnings", "access_log", "data_keys"):
            owner.execute(sql.SQL("VACUUM ANALYZE dataswarm.{}").format(sql.Identifier(table)))
    return database_url


@pytest.mark.timeout(1800)
def test_what_is_known_of_one_thing_is_cheap(known: str) -> None:
    """A fact now, then, and through its versions; what was learned; who read it and who wrote it: a few blocks."""
    key = {"branch": "main", "subject": SUBJECT, "predicate": "p7"}
    then = "2026-06-01"
    read: dict[str, Any] = {"who": None, "noun": None, "refs": None, "since": None, "limit": 20}
    wrote: dict[str, Any] = {"who": None, "noun": None, "id": None, "since": None, "limit": 20}
    learned: dict[str, Any] = {"playbook": None, "cause": None, "signal": None, "subjects": None, "limit": 20}
    for name, parameters, most in (
        ("fact", key, 20),
        ("facts", {"subjects": f"^{SUBJECT}(#.*)?$", "predicate": None, "first": SUBJECT, "last": SUBJECT + LAST,
                   "limit": 500}, 60 + COUNT // 100),
        ("fact_by_id", {"id": 77}, 20),
        ("version_of_fact", key, 40),
        ("belief", {**key, "at": then}, 60),
        ("fact_history", key, 20),
        ("learning", {"id": 77}, 20),
        ("learnings", learned, 40),
        ("learnings", {**learned, "playbook": "playbook-7", "cause": "cause-7"}, 60 + COUNT // 200),
        ("success_rate", {"playbook": "playbook-7", "cause": "cause-7"}, 60 + COUNT // 200),
        ("success_rates", {"cause": "cause-7", "playbooks": None, "whole": SUBJECT, "circumstances": "{}"},
         100 + COUNT // 400),
        ("accesses", read, 60),
        ("accesses", {**read, "who": "agent-7"}, 120),
        ("accesses", {**read, "noun": "fact", "refs": ["7"]}, 120),
        ("writings", wrote, 60),
        ("writings", {**wrote, "who": "agent-7"}, 120),
        ("versions_written", wrote, 200),
        ("versions_written", {**wrote, "id": 77}, 60),
        ("data_key", {"id": "cfcd2084-95d5-65ef-66e7-dff9f98764da"}, 20),
        ("line_of_memory", {"branch": "main"}, 20),
    ):  # fmt: skip
        assert blocks(known, name, **parameters) < most, (name, parameters)
