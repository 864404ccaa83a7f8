"""A changed configuration file takes effect without a restart; a broken one keeps the old and says so."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from time import monotonic

from config.interview import Answers, compose
from config.settings import load as load_settings
from dataswarm.app import App, load
from dataswarm.members import installed
from memory.connection.database import Database
from memory.members import presence
from tests.pace import quick, until

AGENTS = {"schema-drift", "pipeline-health", "incident-response"}


async def held(db: Database) -> set[str]:
    """The agents somebody holds."""
    async with db.transaction() as tx:
        return {p.agent for p in await presence.all(tx) if p.holder is not None}


async def test_disabling_an_agent_in_the_file_frees_its_lease_within_five_seconds(
    db: Database, database_url: str, owner_url: str, tmp_path: Path
) -> None:
    """One agent is switched off, the others go on; then the file breaks, and nothing changes but what is said."""
    file = tmp_path / "dataswarm.yaml"
    text = f'database:\n  url: "{database_url}"\n  migrate_url: "{owner_url}"\n  directory: {tmp_path / "home"}\n'
    file.write_text(text, encoding="utf-8")
    app = await App.open(load(file))
    stop = asyncio.Event()
    job = asyncio.create_task(app.run(stop, config=file))
    await app.started()

    async def all_held() -> bool:
        return await held(db) == AGENTS

    async def drift_is_free() -> bool:
        return await held(db) == AGENTS - {"schema-drift"}

    async def refused() -> bool:
        return app.config_problem is not None

    await until(all_held)
    start = monotonic()
    file.write_text(text + "agents:\n  schema-drift:\n    enabled: false\n", encoding="utf-8")
    await until(drift_is_free)
    assert monotonic() - start < quick(5)
    file.write_text(text + "agents:\n  schema-drfit:\n    enabled: true\n", encoding="utf-8")
    await until(refused)
    assert "schema-drift" in str(app.config_problem)
    assert await drift_is_free()
    file.write_text(text, encoding="utf-8")
    await until(all_held)
    stop.set()
    await job
    await app.close()


def test_what_init_writes_loads_with_what_is_installed(tmp_path: Path) -> None:
    """The file `dataswarm init` writes passes the checks of the real integrations' options."""
    file = tmp_path / "dataswarm.yaml"
    file.write_text(compose(Answers()), encoding="utf-8")
    variables = {"WAREHOUSE_URL": "postgresql://r@h/d", "WAREHOUSE_ACTOR_URL": "postgresql://a@h/d"}
    wanted = {name: f"postgresql://x@h/{name.lower()}" for name in _variables(file.read_text(encoding="utf-8"))}
    settings = load_settings(file, catalogue=installed().catalogue(), environ={**wanted, **variables})
    assert settings.sources


def _variables(text: str) -> set[str]:
    """Names the file refers to as `${NAME}`."""
    return set(re.findall(r"\$\{([A-Z_]+)", text))
