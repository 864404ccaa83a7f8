"""A baseline taken anew by hand: asked for with the program, done by the service, on record with who and why."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import Result

from config.assets import Asset
from config.errors import TransientError
from integrations.base import Catalog
from integrations.warehouses.postgres import PostgresOptions, PostgresWarehouse
from memory.beliefs import knowledge
from memory.board import baselines
from memory.connection.database import Database
from tests.pace import until
from tests.runtime.test_drift import head, run, shop, told, warehouse, watching
from tests.runtime.test_loops import observed
from tests.unit.dataswarm.program import Program, write_config

__all__ = ["shop"]
WHY = ("--reason", "release 7", "--as", "maria")


@pytest.fixture
def program(tmp_path: Path, database_url: str, owner_url: str, shop: str) -> Program:
    """The program over the service's memory, with the shop as a source."""
    place = {"url": database_url, "migrate_url": owner_url, "directory": str(tmp_path / "home")}
    file = tmp_path / "dataswarm.yaml"
    file.write_text(json.dumps({"database": place}), encoding="utf-8")
    program = Program(file, database_url)
    write_config(program, sources={"shop": {"kind": "postgres", "url": shop}})
    return program


async def typed(program: Program, *words: str, keys: str | None = None) -> Result:
    """Run a command beside the service."""
    return await asyncio.to_thread(lambda: program("drift", *words, keys=keys))


async def history(program: Program) -> dict[str, Any]:
    """What `drift history` has of the shop."""
    result = await typed(program, "history", "shop", "--json")
    [found] = json.loads(result.stdout)["sources"]
    return dict(found)


async def test_the_present_structure_is_taken(db: Database, shop: str, program: Program) -> None:
    """What was open is closed as retaken, with who and why, as a revision; what comes back later is news of its own."""
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders drop legacy")
        [dropped] = await until(lambda: told(db, "schema.column_dropped", 1))
        assert [c["state"] for c in (await history(program))["changes"]] == ["open"]
        refused = await typed(program, "baseline", "shop", "--retake", *WHY, keys="n\n")
        assert refused.exit_code == 1
        assert "Take the structure of shop" in refused.stderr
        result = await typed(program, "baseline", "shop", "--retake", *WHY, "--json", "--yes")
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)
        [one] = answer["retaken"]
        assert (one["state"], one["closed"]) == ("retaken", [dropped.payload["change"]])
        assert (answer["by"], answer["reason"]) == ("maria", "release 7")
        found = await history(program)
        assert found["revisions"][0]["revision"] == one["revision"]
        assert found["revisions"][0]["note"] == "retaken by maria: release 7"
        states = {c["kind"]: (c["state"], c["summary"]) for c in found["changes"]}
        assert states["column_dropped"][0] == "retaken"
        assert states["retaken"] == ("told", "baseline taken anew by maria: release 7")
        async with db.transaction() as tx:
            kept = await baselines.parts(tx, "schema-drift", "shop", one["revision"])
        assert kept["retaken"] == {"by": "maria", "reason": "release 7", "wish": 1}
        run(shop, "alter table raw.orders add legacy text")
        await until(lambda: told(db, "schema.column_added", 1))
        assert not await observed(db, "schema.restored"), "nobody waited for it any more"


async def test_twice_and_of_all_sources(db: Database, shop: str, program: Program) -> None:
    """Each time is a revision, though nothing changed in between; without a name it is done for every source."""
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        for number in (1, 2):
            result = await typed(program, "baseline", "--retake", "--reason", f"time {number}", "--yes")
            assert "is the baseline now; open changes closed: 0" in result.output
        notes = [r["note"].partition(": ")[2] for r in (await history(program))["revisions"]]
    assert notes == ["time 2", "time 1", ""]


async def test_without_a_service_nothing_is_changed(db: Database, shop: str, program: Program) -> None:
    """The program says that none runs and what to start, at once, and leaves the baseline as it is."""
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
    gone = await typed(program, "baseline", "shop", "--retake", *WHY, "--yes")
    assert gone.exit_code == 2
    assert "no running service is the agent schema-drift" in gone.stderr
    assert "start `dataswarm up`" in gone.stderr
    assert len((await history(program))["revisions"]) == 1
    async with db.transaction() as tx:
        assert await knowledge.fact(tx, Asset("warehouse", "shop"), "drift.retake") is None


class Away(PostgresWarehouse):
    """A warehouse that can be told not to answer."""

    is_away = False

    async def fingerprint(self) -> str:
        """Fail while it is away."""
        if self.is_away:
            raise TransientError("warehouse shop is away")
        return await super().fingerprint()

    async def catalog(self) -> Catalog:
        """The same."""
        if self.is_away:
            raise TransientError("warehouse shop is away")
        return await super().catalog()


async def test_a_source_that_is_away_is_retaken_when_it_is_back(db: Database, shop: str, program: Program) -> None:
    """The program says that it waits, with exit status 1; the first look that succeeds fulfils the wish.

    What happened between the last look and that one is part of the new baseline, and no finding.
    """
    source = Away("shop", PostgresOptions(url=SecretStr(shop), schemas=("raw",)))
    async with watching(db, {"shop": source}):
        await until(lambda: head(db))
        source.is_away = True
        result = await typed(program, "baseline", "shop", "--retake", *WHY, "--yes")
        assert result.exit_code == 1
        assert "the wish stands" in result.output
        run(shop, "alter table raw.orders drop note")
        source.is_away = False
        await until(lambda: told(db, "schema.retaken", 1))
        assert not await observed(db, "schema.column_dropped")


async def test_what_is_refused(program: Program) -> None:
    """No reason, beside other options, before the first look, and no word of which source where there are several."""
    for words, says in (
        (("shop", "--retake", "--yes"), "--reason"),
        (("shop", "--retake", "--look", *WHY), "--retake goes alone"),
        (("shop", "--retake", "--yes", *WHY), "there is no baseline of shop yet"),
        (("shpo", "--retake", "--yes", *WHY), "did you mean 'shop'"),
    ):
        result = await typed(program, "baseline", *words)
        assert result.exit_code == 2, words
        assert says in result.stderr, words
    nobody = await typed(program, "baseline", "--retake", "--yes", *WHY)
    assert "no source has a baseline yet" in nobody.output


async def test_what_is_accepted_is_open_no_longer(db: Database, shop: str, program: Program) -> None:
    """By its number, as the history of a running service shows it; its return is a change of its own then."""
    async with watching(db, {"shop": warehouse(shop)}):
        await until(lambda: head(db))
        run(shop, "alter table raw.orders drop legacy")
        await until(lambda: told(db, "schema.column_dropped", 1))
        [change] = (await history(program))["changes"]
        done = await typed(program, "accept", "shop", str(change["id"]), "--reason", "gone for good")
        assert done.exit_code == 0, done.output + done.stderr
        assert [c["state"] for c in (await history(program))["changes"]] == ["accepted"]
        run(shop, "alter table raw.orders add legacy text")
        await until(lambda: told(db, "schema.column_added", 1))
        assert not await observed(db, "schema.restored")
