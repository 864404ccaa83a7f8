"""Ingest: texts of any kind become notes, once; what is wrong with one file stops no other."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from config.assets import Asset
from config.errors import UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding import chunks, files, ingest, recall
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


def test_a_separator_of_unicode_ends_no_line() -> None:
    """A string of a session log may hold one, and so may a paragraph; Windows' line ends are line ends."""
    said = json.dumps({"role": "user", "content": "one\u2028two\u0085three\x0cfour"}, ensure_ascii=False)
    found = chunks.conversation(said + "\r\n" + said)
    assert (len(found.chunks), found.broken) == (2, 0)
    assert found.chunks[0].text == "user: one\u2028two\u0085three\x0cfour"
    assert [c.heading for c in chunks.markdown("# a\r\nb\u2028# c\r\n## d\n")] == ["a", "a / d"]


async def test_what_cannot_be_stored_stops_no_other_file(db: Database, tmp_path: Path) -> None:
    """A name of odd bytes, a NUL and half a character in JSON, lines that are no JSON: told; the good file is in."""
    (tmp_path / "good.md").write_text("# Good\nhere")
    (tmp_path / "a_nul.jsonl").write_text(json.dumps({"role": "user", "content": "a\0b"}))
    (tmp_path / "b_half.jsonl").write_text('{"role": "user", "content": "a\\ud800b"}')
    (tmp_path / "c_odd.jsonl").write_text("[" * 50_000 + "\n" + "9" * 9000 + '\n{"role": "user", "content": "hello"}')
    (tmp_path / os.fsdecode(b"\xff.md")).write_text("# Odd")
    found = {filed.path: filed for filed in await ingest.ingest(db, tmp_path, name="odd")}
    assert {path: filed.state for path, filed in found.items()} == {
        "a_nul.jsonl": "failed",
        "b_half.jsonl": "failed",
        "c_odd.jsonl": "written",
        "good.md": "written",
        "?.md": "failed",
    }
    assert found["c_odd.jsonl"].broken == 2
    assert "NUL" in found["a_nul.jsonl"].error
    assert "surrogate" in found["b_half.jsonl"].error
    assert "name" in found["?.md"].error
    assert set(await notes(db)) == {"note://odd/good.md#Good", "note://odd/c_odd.jsonl#turn 1"}


async def test_replicas_that_take_in_one_folder_write_it_once(db: Database, tmp_path: Path) -> None:
    """All at the same moment: each section has one new version, one of them wrote it, and what is gone goes once."""
    texts = [f"# H{n}\ntext {n}\n" for n in range(30)]
    for content, version in (("".join(texts), 1), ("".join(texts).replace("text", "new"), 2)):
        (tmp_path / "a.md").write_text(content)
        done = await asyncio.gather(*(files.index(db, tmp_path, name="t") for _ in range(4)))
        assert sorted(filed.state for (filed,) in done) == ["unchanged"] * 3 + ["written"]
        assert {fact.version for fact in (await notes(db)).values()} == {version}
    (tmp_path / "a.md").unlink()
    done = await asyncio.gather(*(files.index(db, tmp_path, name="t") for _ in range(4)))
    assert sum(filed.retired for filed in itertools.chain(*done)) == 30
    assert await notes(db) == {}


async def test_a_large_note_is_cut(db: Database, tmp_path: Path) -> None:
    """Ten megabytes under a long heading, in one transaction; its last words are found, and it is cut alike again."""
    heading = "支払い" * 60
    said = ("much to say about payments. " * 40 + "\n\n") * 9000
    (tmp_path / "large.md").write_text(f"# {heading}\n{said}the very end is velvet")
    assert (tmp_path / "large.md").stat().st_size > 10_000_000
    (filed,) = await ingest.ingest(db, tmp_path, name="large")
    assert (filed.state, filed.error) == ("written", "")
    assert filed.written > 1600
    (again,) = await ingest.ingest(db, tmp_path, name="large")
    assert again.state == "unchanged"
    async with db.transaction() as tx:
        assert [item.kind for item in await recall.recall(tx, "velvet")] == ["note"]
    (tmp_path / "large.md").write_text(f"# {heading}\n{said}the very end is linen")
    (changed,) = await ingest.ingest(db, tmp_path, name="large")
    assert (changed.state, changed.written, changed.retired) == ("written", 1, 0)


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
