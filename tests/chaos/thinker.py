"""A process that reasons within a task, over a real wire, with a tool that looks and a tool that changes something.

`python -m tests.chaos.thinker DATABASE_URL MODEL_URL OUTSIDE_URL`: claims the one task there is, and finishes it. The
outside is a table without a unique constraint, so that whatever is done twice shows; after the change, the tool waits
at a lock that the test holds, where the process can be killed.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import uuid4

import psycopg
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agents.journaling import Journaled
from agents.playbook import Probe
from agents.runtime.bench import Surroundings, TaskBench
from agents.runtime.window import Window
from config.assets import Asset
from config.settings import Settings
from memory import clock
from memory.connection.database import Database
from memory.queue import tasks
from memory.records import EffectClass, Payload, Sensitivity

ORDERS = Asset("warehouse", "shop", "raw.orders")
DOOR = 7


async def think(database_url: str, model_url: str, outside_url: str) -> str:
    """Claim, reason, finish; the answer."""
    db = await Database.open(database_url, application_name="dataswarm/thinker", pool_size=2)
    (task,) = await tasks.claim(db, ["thinker"], limit=1, worker=uuid4(), lease_seconds=60)
    settings = Settings()
    window = Window(
        db, clearance=Sensitivity.INTERNAL, settings=lambda: settings, playbooks=dict, now=await clock.now(db)
    )
    bench = TaskBench(Surroundings(db, sources=dict, playbooks=dict, settings=lambda: settings), task, window)
    model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=model_url, api_key="none"))
    mind = Agent(model, capabilities=[Journaled(bench, "mend")])
    outside = await psycopg.AsyncConnection.connect(outside_url, autocommit=True)

    @mind.tool_plain
    async def look(table: str) -> int:
        """Count the rows of a table."""
        await outside.execute("INSERT INTO public.outside VALUES ('look', %s)", (table,))
        return 3

    @mind.tool_plain
    async def mend(table: str) -> dict[str, object]:
        """Mend a table."""

        async def do() -> Payload:
            await outside.execute("INSERT INTO public.outside VALUES ('mend', %s)", (table,))
            await outside.execute("SELECT pg_advisory_lock(%s)", (DOOR,))
            return {"mended": table}

        async def probe() -> Probe:
            found = await outside.execute("SELECT 1 FROM public.outside WHERE deed = 'mend' AND target = %s", (table,))
            return Probe.DONE if await found.fetchone() else Probe.NOT_DONE

        done = await bench.effect(
            f"mend {table}",
            target=ORDERS,
            intent={"mend": table},
            inverse={"unmend": table},
            effect_class=EffectClass.INVERTIBLE,
            do=do,
            probe=probe,
        )
        return dict(done)

    run = await mind.run("mend what is broken")
    async with db.transaction() as tx:
        await tasks.succeed(tx, task, {"answer": run.output, "tokens": run.usage.total_tokens})
    await outside.close()
    await db.close()
    return run.output


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(think(*sys.argv[1:])))
