"""What state machines over the real database stand on: one loop and one database for all their examples."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from psycopg import sql

from memory.connection.database import Database
from memory.server.embedded import EmbeddedServer

T = TypeVar("T")
# `make properties` sets it: so many times the examples of the default suite, and other ones each time.
TIMES = int(os.environ.get("PROPERTIES_TIMES", "1"))


class Ground:
    """A loop and a database. Examples differ by a name of their own, so that none sees another's rows."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.db = self.run(Database.open(url, application_name="dataswarm/test", pool_size=8))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end."""
        return self._runner.run(work)

    def check(self, machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
        """Look for a sequence of rules that breaks the machine."""
        run_state_machine_as_test(
            machine,
            settings=settings(
                phases=[Phase.generate] if TIMES == 1 else [Phase.generate, Phase.shrink],
                max_examples=examples * TIMES,
                stateful_step_count=steps,
                deadline=None,
                derandomize=TIMES == 1,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

    def close(self) -> None:
        """Close the database and the loop."""
        self.run(self.db.close())
        self._runner.close()


@contextmanager
def ground(server: EmbeddedServer, template: str) -> Iterator[Ground]:
    """A ground on a migrated database of its own."""
    name = f"p_{uuid4().hex[:12]}"
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    made = Ground(server.url_for(database=name, user="dataswarm_worker"))
    try:
        yield made
    finally:
        made.close()
