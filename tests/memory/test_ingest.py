"""Ingest: texts of any kind become notes, once; what is wrong with one file stops no other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from config.assets import Asset
from config.errors import UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding import chunks, ingest, recall
from memory.records import Fact, Sensitivity
from tests.memory.sealing import sealing

RUNBOOK = """---
kind: runbook
owner: team-shop
---
Always read this first.

# Duplicate batch
Look at raw.payments.

## Fix
```sh
# this is no heading
```
Quarantine the rows.

# Duplicate batch
A second time.
"""


async def notes(db: Database, **wanted: Any) -> dict[str, Fact]:
    """What is held of notes: reference → fact."""
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        return {str(f.subject): f for f in await knowledge.facts(tx, subject="note://*", **wanted)}


def test_markdown_is_cut_at_its_headings() -> None:
    """Paths of headings name the pieces; code is no heading; a heading that comes twice is numbered."""
    head, body = chunks.front_matter(RUNBOOK)
    assert head == {"kind": "runbook", "owner": "team-shop"}
    assert [(c.heading, c.text.splitlines()[0]) for c in chunks.markdown(body)] == [
        ("", "Always read this first."),
        ("Duplicate batch", "Look at raw.payments."),
        ("Duplicate batch / Fix", "```sh"),
        ("Duplicate batch (2)", "A second time."),
    ]
    assert chunks.markdown("") == []
    assert [c.heading for c in chunks.markdown("# only a heading")] == ["only a heading"]


def test_long_texts_are_cut_and_nothing_is_lost() -> None:
    """At paragraphs, at lines, anywhere at last; all words are there, no piece is over its size."""
    text = "\n\n".join([f"word{n} " * 50 for n in range(100)]) + "\n" + "line\n" * 3000 + "x" * 20_000
    pieces = chunks.plain(text)
    assert all(0 < len(piece.text) <= chunks.LONGEST for piece in pieces)
    assert "".join("".join(p.text.split()) for p in pieces) == "".join(text.split())
    assert len({piece.heading for piece in pieces}) == len(pieces)


def test_a_session_log_gives_its_speech() -> None:
    """Three dialects in one file; tools are left out, unknown kinds are counted, broken lines too."""
    lines: list[Any] = [
        {"type": "user", "message": {"role": "user", "content": "Why is revenue down?"}},
        {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": "A rename."}]}},
        {
            "type": "assistant",
            "message": {"role": "assistant", "content": [{"type": "tool_use", "input": {"q": "secret"}}]},
        },
        {"role": "user", "content": "Fix it."},
        {"role": "assistant", "content": "Done."},
        {"role": "tool", "content": "row 4711"},
        {"kind": "request", "parts": [{"part_kind": "user-prompt", "content": "And now?"}]},
        {"kind": "response", "parts": [{"part_kind": "text", "content": "All well."}, {"part_kind": "tool-call"}]},
        {"type": "summary", "summary": "A rename was mended."},
        {"type": "telemetry/odd", "x": 1},
        {"type": "telemetry/odd", "x": 2},
        {"x": 3},
        {"type": ["not", "text"]},
        {"role": "user", "content": {"odd": 1}},
    ]
    found = chunks.conversation("\n".join([*map(json.dumps, lines), "{broken", "[1]", ""]))
    assert [(c.heading, c.text) for c in found.chunks] == [
        ("turn 1", "user: Why is revenue down?\n\nassistant: A rename."),
        ("turn 2", "user: Fix it.\n\nassistant: Done."),
        ("turn 3", "user: And now?\n\nassistant: All well.\n\nsummary: A rename was mended."),
    ]
    assert (found.left_out, found.unknown, found.broken) == (3, {"telemetry?odd": 2, "without a type": 2}, 2)


async def test_the_same_file_twice_changes_nothing(db: Database, tmp_path: Path) -> None:
    """Then one section changes, one goes, one comes: exactly these have another version."""
    file = tmp_path / "notes" / "runbooks" / "payments.md"
    file.parent.mkdir(parents=True)
    file.write_text(RUNBOOK)
    (first,) = await ingest.ingest(db, tmp_path / "notes")
    assert (first.path, first.state, first.written, first.retired) == ("runbooks/payments.md", "written", 4, 0)
    before = await notes(db)
    (again,) = await ingest.ingest(db, tmp_path / "notes")
    assert (again.state, again.written) == ("unchanged", 0)
    assert await notes(db) == before
    assert {fact.predicate for fact in before.values()} == {"runbook"}
    file.write_text(
        RUNBOOK.replace("Quarantine", "Remove").replace("# Duplicate batch\nA second time.", "# New\nHello.")
    )
    (changed,) = await ingest.ingest(db, tmp_path / "notes")
    assert (changed.written, changed.retired) == (2, 1)
    after = await notes(db)
    assert sorted(fact.version for fact in after.values()) == [1, 1, 1, 2]
    async with db.transaction() as tx:
        found = await recall.recall(tx, "quarantine rows payments")
        assert found[0].subject.whole == Asset("note", "notes", "runbooks/payments.md")
        gone = await knowledge.history(
            tx, Asset("note", "notes", "runbooks/payments.md", "Duplicate batch (2)"), "runbook"
        )
        assert [fact.retracted for fact in gone] == [False, True]


async def test_bad_files_are_named_and_the_rest_goes_on(db: Database, tmp_path: Path) -> None:
    """NUL bytes, other encodings, a dead link, too large, a wrong kind; the good ones are in."""
    (tmp_path / "a_nul.md").write_bytes(b"# x\n\0secret")
    (tmp_path / "b_latin.md").write_bytes("# Stra\xdfe".encode("latin-1"))
    (tmp_path / "d_wrong.md").write_text("---\nkind: poem\n---\nx")
    (tmp_path / "e_utf16.txt").write_text("héllo wörld", encoding="utf-16")
    (tmp_path / "f_scripts.md").write_text("# 支払い\nпродажи 注文 ορδερ 🚀\n" + "字" * 400)  # noqa: RUF001 - letters of many scripts
    (tmp_path / "g_empty.md").write_text("")
    (tmp_path / "h.bin").write_bytes(b"\1\2")
    (tmp_path / ".hidden.md").write_text("# hidden")
    (tmp_path / "i_link.md").symlink_to("/etc/hostname")
    with (tmp_path / "c_large.md").open("wb") as large:
        os.truncate(large.fileno(), ingest.LARGEST + 1)
    found = {filed.path: filed for filed in await ingest.ingest(db, tmp_path, name="bad")}
    assert {path: filed.state for path, filed in found.items()} == {
        "a_nul.md": "failed",
        "b_latin.md": "failed",
        "c_large.md": "failed",
        "d_wrong.md": "failed",
        "e_utf16.txt": "written",
        "f_scripts.md": "written",
        "g_empty.md": "written",
    }
    assert "NUL" in found["a_nul.md"].error
    assert "UTF-8" in found["b_latin.md"].error
    assert "secret" not in str(found)
    (tmp_path / "dead.md").symlink_to(tmp_path / "nowhere")
    (dead,) = await ingest.ingest(db, tmp_path / "dead.md")
    assert (dead.state, dead.error) == ("failed", "cannot be read: FileNotFoundError")
    held = await notes(db)
    assert len(held) == 2
    assert any("🚀" in fact.object["text"] for fact in held.values())
    async with db.transaction() as tx:
        assert [r.kind for r in await recall.recall(tx, "продажи")] == ["note"]
    with pytest.raises(UsageError, match="no file or folder"):
        await ingest.ingest(db, tmp_path / "nowhere")


async def test_a_large_note_is_cut(db: Database, tmp_path: Path) -> None:
    """A megabyte, under a long heading, in one transaction (ten take ten seconds, most of it finding words)."""
    heading = "支払い" * 60
    (tmp_path / "large.md").write_text(f"# {heading}\n" + ("much to say about payments. " * 40 + "\n\n") * 900)
    assert (tmp_path / "large.md").stat().st_size > 1_000_000
    (filed,) = await ingest.ingest(db, tmp_path, name="large")
    assert (filed.state, filed.error) == ("written", "")
    assert filed.written > 160
    (again,) = await ingest.ingest(db, tmp_path, name="large")
    assert again.state == "unchanged"


async def test_two_folders_of_one_name_do_not_mix(db: Database, tmp_path: Path) -> None:
    """The second is refused until it is given a name of its own."""
    for place in ("one", "two"):
        (tmp_path / place / "docs").mkdir(parents=True)
        (tmp_path / place / "docs" / "a.md").write_text(f"# {place}")
    await ingest.ingest(db, tmp_path / "one" / "docs")
    with pytest.raises(UsageError, match="another folder is known"):
        await ingest.ingest(db, tmp_path / "two" / "docs")
    await ingest.ingest(db, tmp_path / "two" / "docs", name="docs two")
    assert set(await notes(db)) == {"note://docs/a.md#one", "note://docs-two/a.md#two"}


async def test_a_file_may_say_that_it_is_confidential(db: Database, tmp_path: Path) -> None:
    """Then its words are sealed and found by nobody; without a key it fails by itself; it may become open again."""
    file = tmp_path / "secret.md"
    file.write_text("---\nsensitivity: confidential\n---\n# Accounts\nIBAN 4711")
    (refused,) = await ingest.ingest(db, tmp_path, name="s")
    assert refused.state == "failed"
    assert "no key is configured" in refused.error
    sealing(db)
    (filed,) = await ingest.ingest(db, tmp_path, name="s")
    assert filed.state == "written"
    (fact,) = (await notes(db)).values()
    assert (fact.sensitivity, fact.object["text"]) == (Sensitivity.CONFIDENTIAL, "IBAN 4711")
    async with db.transaction(clearance=Sensitivity.CONFIDENTIAL) as tx:
        assert await recall.recall(tx, "IBAN") == []
    file.write_text("# Accounts\nnothing here")
    (filed,) = await ingest.ingest(db, tmp_path, name="s")
    assert (filed.state, filed.written) == ("written", 1)
    async with db.transaction() as tx:
        assert len(await recall.recall(tx, "accounts")) == 1
