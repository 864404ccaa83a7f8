"""Files beside the database: indexed as they change, exported without ever touching a person's words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from config.assets import Asset
from config.errors import PolicyError, UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding import files, recall
from memory.records import Sensitivity
from tests.memory.sealing import sealing
from tests.memory.stage import ORDERS


async def told(db: Database, predicate: str, value: Any, **more: Any) -> None:
    """A fact about the orders table."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        await knowledge.assert_fact(tx, "a", ORDERS, predicate, value, expected=None, **more)


def states(done: list[files.Exported]) -> dict[str, str]:
    """File → what became of it."""
    return {one.path: one.state for one in done}


def everything(folder: Path) -> str:
    """All that stands in the files of a folder."""
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


async def test_a_folder_and_the_database_are_searched_in_one_call(db: Database, tmp_path: Path) -> None:
    """What stands in a file and what was observed come back together; each says what it is."""
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "dup.md").write_text("# Duplicate batch\nQuarantine the payments of the batch.")
    (tmp_path / "conventions.md").write_text("# Naming\nTables of payments end in _v1.")
    await told(db, "owner", "payments team")
    filed = await files.index(db, tmp_path, name="team")
    assert {one.path: one.state for one in filed} == {"runbooks/dup.md": "written", "conventions.md": "written"}
    async with db.transaction() as tx:
        found = await recall.recall(tx, "payments")
    assert {item.kind for item in found} == {"runbook", "convention", "owner"}


async def test_a_deleted_file_retires_its_notes(db: Database, tmp_path: Path) -> None:
    """A moved one too; they are not found any more, and their history stays."""
    (tmp_path / "a.md").write_text("# Alpha\nonly here")
    (tmp_path / "b.md").write_text("# Beta\nstays")
    await files.index(db, tmp_path, name="team")
    (tmp_path / "a.md").unlink()
    filed = await files.index(db, tmp_path, name="team")
    assert {one.path: (one.state, one.retired) for one in filed} == {"a.md": ("retired", 1), "b.md": ("unchanged", 0)}
    async with db.transaction() as tx:
        assert await recall.recall(tx, "alpha only here") == []
        past = await knowledge.history(tx, Asset("note", "team", "a.md", "Alpha"), "note")
        assert [fact.retracted for fact in past] == [False, True]
    assert len(await files.index(db, tmp_path, name="team")) == 1
    shutil.rmtree(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        await files.index(db, tmp_path, name="team")
    async with db.transaction() as tx:
        assert len(await recall.recall(tx, "beta")) == 1  # an unmounted folder is not an empty one


async def test_what_is_exported_never_overwrites_an_edit(db: Database, tmp_path: Path) -> None:
    """Ours is brought up to date and removed; a person's stands, with ours beside it, until both say the same."""
    await told(db, "owner", "shop")
    await told(db, "profile", {"rows": 3, "é": [1, 2]})
    async with db.transaction() as tx:
        await knowledge.learn(
            tx,
            "a",
            signal="success",
            playbook="patch-model",
            cause="rename",
            subject=ORDERS,
            text="worked",
            circumstances={},
        )
    page, learned = "facts/warehouse/shop/raw.orders.md", "learnings/patch-model.md"
    assert states(await files.export(db, tmp_path)) == {page: "written", learned: "written"}
    assert "## owner\n\nshop" in (tmp_path / page).read_text()
    assert states(await files.export(db, tmp_path)) == {page: "unchanged", learned: "unchanged"}
    await told(db, "owner", "data")
    assert states(await files.export(db, tmp_path))[page] == "written"
    edited = (tmp_path / page).read_text() + "\nAsk Ann first.\n"
    (tmp_path / page).write_text(edited)
    await told(db, "owner", "shop again")
    assert states(await files.export(db, tmp_path))[page] == "beside"
    assert (tmp_path / page).read_text() == edited
    ours = (tmp_path / f"{page}.new").read_text()
    assert "shop again" in ours
    (tmp_path / page).write_text(ours)  # the person takes ours over
    assert states(await files.export(db, tmp_path))[page] == "unchanged"
    async with db.transaction() as tx:
        for predicate in ("owner", "profile"):
            await knowledge.retract(tx, "a", ORDERS, predicate, reason="gone")
    assert states(await files.export(db, tmp_path))[page] == "removed"
    assert not (tmp_path / page).exists()


async def test_what_is_put_beside_an_edit_overwrites_no_edit_either(db: Database, tmp_path: Path) -> None:
    """A person writes into `.new` as well: that stands too; what is not needed any more of ours goes."""
    await told(db, "owner", "shop")
    page = "facts/warehouse/shop/raw.orders.md"
    await files.export(db, tmp_path)
    first = (tmp_path / page).read_text()
    (tmp_path / page).write_text("mine")
    await told(db, "owner", "data")
    (done,) = await files.export(db, tmp_path)
    assert (done.state, done.ours) == ("beside", f"{page}.new")
    (tmp_path / f"{page}.new").write_text("half merged, mine as well")
    await told(db, "owner", "finance")
    (done,) = await files.export(db, tmp_path)
    assert (done.state, done.ours) == ("beside", f"{page}.new.2")
    assert (tmp_path / page).read_text() == "mine"
    assert (tmp_path / f"{page}.new").read_text() == "half merged, mine as well"
    assert "finance" in (tmp_path / f"{page}.new.2").read_text()
    (tmp_path / page).write_text(first)  # the person takes the edit back
    assert states(await files.export(db, tmp_path)) == {page: "written", f"{page}.new.2": "removed"}
    assert "finance" in (tmp_path / page).read_text()
    assert (tmp_path / f"{page}.new").read_text() == "half merged, mine as well"


async def test_a_stranger_s_file_is_left_alone(db: Database, tmp_path: Path) -> None:
    """One that was there before, a broken manifest, and one that names files elsewhere."""
    await told(db, "owner", "shop")
    page = tmp_path / "facts/warehouse/shop/raw.orders.md"
    page.parent.mkdir(parents=True)
    page.write_text("mine")
    outside = tmp_path.parent / "outside.md"
    outside.write_text("mine")
    manifest = tmp_path / files.MANIFEST
    for broken in ("{", "[1]", json.dumps({"../outside.md": "x", "facts/../../outside.md": "x", "/etc/hostname": "x"})):
        manifest.write_text(broken)
        assert set(states(await files.export(db, tmp_path)).values()) == {"beside"}
        assert page.read_text() == "mine"
        assert outside.read_text() == "mine"


async def test_exports_hold_nothing_confidential_and_are_not_read_back(db: Database, tmp_path: Path) -> None:
    """Neither text nor a trace; asking for it is refused; an exported file is no note."""
    sealing(db)
    await told(db, "sample", "planted-9f3", sensitivity=Sensitivity.CONFIDENTIAL)
    await told(db, "owner", "shop")
    await files.export(db, tmp_path)
    written = everything(tmp_path)
    assert "shop" in written
    assert "planted" not in written
    assert "sample" not in written
    with pytest.raises(PolicyError, match="not exported"):
        await files.export(db, tmp_path, clearance=Sensitivity.CONFIDENTIAL)
    assert {one.state for one in await files.index(db, tmp_path, name="x")} == {"skipped"}
    with pytest.raises(UsageError, match="cannot write"):
        await files.export(db, tmp_path / "facts" / "warehouse" / "shop" / "raw.orders.md")
