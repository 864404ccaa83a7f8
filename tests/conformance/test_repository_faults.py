"""Git as it comes in life: no remote, no branch, links that lead out, races, protected branches, tokens in URLs."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.errors import ConflictError, PermanentError, SetupError, SourceError, SwarmError, TransientError, UsageError
from integrations.repositories.git import GitOptions, GitRepository


def git(*words: str) -> str:
    """Git as the team runs it."""
    who = {f"GIT_{r}_{p}": f"{p}@team".lower() for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")}
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True, env=os.environ | who).stdout


def repository(remote: object, directory: Path, **options: object) -> GitRepository:
    """A repository in a clone of its own."""
    return GitRepository(
        "models", GitOptions.model_validate({"url": SecretStr(str(remote)), "directory": directory} | options)
    )


async def test_a_remote_that_is_not_there(tmp_path: Path, closed_port: int) -> None:
    """A path that is no repository is a matter of set-up, a host that is away passes; a token is never shown."""
    away = repository(f"http://swarm:hunter2@127.0.0.1:{closed_port}/x.git", tmp_path / "a")
    with pytest.raises(TransientError) as caught:
        await away.open()
    finding = (await away.examine())[0]
    assert "hunter2" not in str(caught.value) + str(finding) + repr(away.options)
    assert not finding.ok
    assert finding.hint
    nowhere = repository(tmp_path / "nowhere.git", tmp_path / "b")
    with pytest.raises(SetupError, match="does not appear to be a git repository"):
        await nowhere.open()


async def test_a_branch_that_is_not_there(remote: Path, tmp_path: Path) -> None:
    """The missing branch is named; so is a project directory that is not there."""
    other = repository(remote, tmp_path / "swarm", branch="trunk")
    assert "'trunk'" in (await other.examine())[0].what
    with pytest.raises(SetupError, match="trunk"):
        await other.head()
    inner = repository(remote, tmp_path / "swarm", subdirectory="nope")
    assert [f.what for f in await inner.examine() if not f.ok] == ["there is no directory nope"]


async def test_links_that_lead_out_are_refused(remote: Path, tmp_path: Path) -> None:
    """A symbolic link is neither read nor written through, and a checkout with one that leads out is not made."""
    seed = tmp_path / "seed"
    (seed / "out").symlink_to("/etc")
    (seed / "link.sql").symlink_to("models/a.sql")
    git("-C", str(seed), "add", ".")
    git("-C", str(seed), "commit", "--quiet", "-m", "Links")
    git("-C", str(seed), "push", "--quiet", "origin", "HEAD:main")
    clone = repository(remote, tmp_path / "swarm")
    await clone.open()
    head = await clone.head()
    for path in ("out/passwd", "out", "link.sql"):
        with pytest.raises(UsageError, match=r"path|file"):
            await clone.read(path)
        with pytest.raises(UsageError, match=r"path|file"):
            await clone.propose("swarm/x", head, {path: "x"}, "Write through")
    with pytest.raises(SourceError, match="out is a symbolic link"):
        await clone.checkout(head)
    assert not list((tmp_path / "swarm" / "checkouts").iterdir())


async def test_a_push_that_loses_the_race(remote: Path, tmp_path: Path) -> None:
    """When production moves between looking and pushing, the push is refused and nothing of the other is lost."""
    clone, rival = repository(remote, tmp_path / "one"), repository(remote, tmp_path / "two")
    await clone.open()
    await rival.open()
    base = await clone.head()
    mine = await clone.propose("swarm/mine", base, {"models/mine.sql": "1\n"}, "Mine")
    theirs = await rival.propose("swarm/theirs", base, {"models/theirs.sql": "2\n"}, "Theirs")
    moved = await rival.merge(theirs, expected=base)
    with pytest.raises(ConflictError, match="moved"):
        await clone._push(mine, "main", expected=base)
    assert git("-C", str(remote), "rev-parse", "main").strip() == moved
    outcomes = await asyncio.gather(
        clone.merge(mine, expected=moved), rival.revert(theirs, "Take back"), return_exceptions=True
    )
    assert not any(isinstance(o, BaseException) and not isinstance(o, ConflictError) for o in outcomes)


async def test_the_same_proposal_from_two_workers(remote: Path, tmp_path: Path) -> None:
    """Two workers proposing the same thing at once end with one commit."""
    clones = [repository(remote, tmp_path / name) for name in ("one", "two")]
    for clone in clones:
        await clone.open()
    base = await clones[0].head()
    commits = await asyncio.gather(*(c.propose("swarm/same", base, {"new.sql": "1\n"}, "Same") for c in clones))
    assert len(set(commits)) == 1


async def test_lines_both_changed(remote: Path, tmp_path: Path) -> None:
    """A merge or revert that meets other work on the same lines is a ConflictError naming the file."""
    clone = repository(remote, tmp_path / "swarm")
    await clone.open()
    base = await clone.head()
    one = await clone.propose("swarm/one", base, {"models/a.sql": "one\n"}, "One")
    two = await clone.propose("swarm/two", base, {"models/a.sql": "two\n"}, "Two")
    head = await clone.merge(one, expected=base)
    with pytest.raises(ConflictError, match=r"models/a\.sql"):
        await clone.merge(two, expected=head)
    third = await clone.propose("swarm/three", head, {"models/a.sql": "three\n"}, "Three")
    last = await clone.merge(third, expected=head)
    with pytest.raises(ConflictError, match=r"models/a\.sql"):
        await clone.revert(one, "Take one back")
    assert await clone.head() == last


async def test_a_protected_branch(remote: Path, tmp_path: Path) -> None:
    """A remote that refuses the push is a PermanentError with its words and a hint, not a race."""
    hook = remote / "hooks" / "update"
    hook.write_text("#!/bin/sh\ncase $1 in */main) echo 'main is protected' >&2; exit 1;; esac\n")
    hook.chmod(0o755)
    clone = repository(remote, tmp_path / "swarm")
    await clone.open()
    base = await clone.head()
    commit = await clone.propose("swarm/x", base, {"models/a.sql": "x\n"}, "X")
    with pytest.raises(PermanentError, match="main is protected") as caught:
        await clone.merge(commit, expected=base)
    assert caught.value.hint
    assert await clone.head() == base


async def test_what_is_no_revision_or_branch(remote: Path, tmp_path: Path) -> None:
    """Option-like and unknown names are refused before git sees them."""
    clone = repository(remote, tmp_path / "swarm", web_url="https://host/commit/{revision}")
    await clone.open()
    base = await clone.head()
    for bad in ("--output=/tmp/x", "HEAD~1", "main"):
        with pytest.raises(UsageError):
            await clone.checkout(bad)
    with pytest.raises(SourceError, match="no commit"):
        await clone.checkout("0123456789abcdef")
    assert not await clone.contains("0123456789abcdef")
    for branch in ("main", "--force", "a..b", "x.lock"):
        with pytest.raises(UsageError):
            await clone.propose(branch, base, {"a": "b"}, "m")
    with pytest.raises(UsageError, match="change nothing"):
        await clone.propose("swarm/n", base, {"models/a.sql": "select 1 as a\n"}, "m")
    assert clone.url_of(base) == f"https://host/commit/{base}"


async def test_a_project_in_a_subdirectory(remote: Path, tmp_path: Path) -> None:
    """Paths are relative to the project, the checkout is its directory, and file modes stay."""
    seed = tmp_path / "seed"
    (seed / "models" / "a.sql").chmod(0o755)
    git("-C", str(seed), "commit", "--quiet", "-am", "Mode")
    git("-C", str(seed), "push", "--quiet", "origin", "HEAD:main")
    clone = repository(remote, tmp_path / "swarm", subdirectory="models")
    await clone.open()
    base = await clone.head()
    commit = await clone.propose("swarm/x", base, {"a.sql": "x\n"}, "X")
    place = await clone.checkout(commit)
    assert (place.name, (place / "a.sql").read_text()) == ("models", "x\n")
    assert (place / "a.sql").stat().st_mode & 0o100
    with pytest.raises(SwarmError):
        await clone.read("../README.md")
