"""A git repository: read, propose on a branch, merge, take back; all without a working tree."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from config.errors import ConflictError, PermanentError, SetupError, SourceError, SwarmError, TransientError, UsageError
from integrations.base import Finding
from integrations.repositories.git.command import Answer, Git
from integrations.repositories.git.options import GitOptions
from integrations.repositories.git.paths import inside, mode_of, refuse_escaping_links

_OLDEST = (2, 38)  # merge-tree --write-tree
_KEPT_CHECKOUTS = 20
_TRIES = 4
_LOCK_POLL_SECONDS = 0.05
_REVISION = re.compile(r"^[0-9a-f]{7,64}$")
_BRANCH = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
_RACED = re.compile(r"stale info|non-fast-forward|fetch first|failed to update ref|cannot lock ref|already exists")


class GitRepository:
    """A branch of a git repository, worked on in a bare clone of the swarm's own.

    Commits are made from the index alone, merges by merge-tree, and every push names the commit it expects at the
    remote, so that a push either lands on what was looked at or is a ConflictError.
    """

    kind: ClassVar[str] = "git"
    Options: ClassVar[type[BaseModel]] = GitOptions

    def __init__(self, name: str, options: GitOptions) -> None:
        self.name = name
        self.options = options
        self._home = options.workplace(name)
        self._url = options.url.get_secret_value()
        self._git = Git(
            name,
            self._home / "clone.git",
            env=options.env,
            timeout=options.timeout_seconds,
            secret=self._url if "://" in self._url else "",
        )
        self._production = f"refs/remotes/origin/{options.branch}"

    async def open(self) -> None:
        """Make the clone where there is none, and fetch. Safe beside other processes."""
        try:
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SetupError(
                f"git {self.name}: {self._home} cannot be made: {error.strerror}", hint="set directory of this source"
            ) from error
        async with self._locked():
            if not (self._git.directory / "HEAD").exists():
                await self._clone()
            await self._git.run("config", "remote.origin.url", self._url)
        await self._fetch()

    async def close(self) -> None:
        """Nothing is held between calls; the clone stays for the next start."""

    async def examine(self) -> Sequence[Finding]:
        """Git new enough, remote reachable, branch there? Never raises for what it finds."""
        try:
            version = (await self._git.outside("--version")).text
            found = re.search(r"(\d+)\.(\d+)", version)
            if found is None or (int(found[1]), int(found[2])) < _OLDEST:
                return [Finding(False, f"{version or 'no git'} is too old", "install git 2.38 or newer")]
            await self.open()
            head = await self.head()
        except SwarmError as error:
            return [Finding(False, error.message, error.hint)]
        findings = [Finding(True, f"{self.options.branch} is at {head[:12]} ({version})")]
        inner = self.options.subdirectory
        if inner and not (await self._git.run("ls-tree", "-d", head, "--", inner)).output:
            findings.append(Finding(False, f"there is no directory {inner}", "check subdirectory of this source"))
        return findings

    # --- reading ---------------------------------------------------------------------------------------------------

    async def head(self) -> str:
        """The commit id of the production branch, fetched now."""
        await self._fetch()
        return await self._head()

    async def read(self, path: str, *, revision: str = "") -> str | None:
        """A file's text at a revision; None where there is none, UsageError for a path out of the repository."""
        tree = await self._commit(revision) if revision else await self.head()
        full = self._full(path)
        if await mode_of(self._git, tree, full) is None:
            return None
        content = (await self._git.run("cat-file", "blob", f"{tree}:{full}")).output
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise SourceError(f"git {self.name}: {path} is not UTF-8 text") from None

    async def contains(self, revision: str) -> bool:
        """Is that commit part of production's history? False for a commit nobody here knows."""
        await self._fetch()
        try:
            commit = await self._commit(revision)
        except SourceError:
            return False
        return await self._is_ancestor(commit, await self._head())

    async def checkout(self, revision: str) -> Path:
        """The project's directory at a revision, made whole or not at all; the newest twenty are kept."""
        commit = await self._commit(revision)
        place = self._home / "checkouts" / commit
        async with self._locked():
            if not place.is_dir():
                await self._check_out(commit, place)
            os.utime(place)
            others = sorted(place.parent.iterdir(), key=lambda d: d.stat().st_mtime)
            for old in others[:-_KEPT_CHECKOUTS]:
                await asyncio.to_thread(shutil.rmtree, old)
        return place / self.options.subdirectory if self.options.subdirectory else place

    def url_of(self, revision: str) -> str:
        """Where a human can look at a commit."""
        return self.options.web_url.replace("{revision}", revision)

    # --- writing ---------------------------------------------------------------------------------------------------

    async def propose(self, branch: str, base: str, changes: Mapping[str, str], message: str) -> str:
        """Commit changes on a branch grown from `base` and push it; see the protocol.

        Raises UsageError for a path outside or when nothing would change, ConflictError where the branch holds
        something else.
        """
        self._check_branch(branch)
        root = await self._commit(base)
        tree = await self._tree(root, changes)
        if tree == await self._resolve(f"{root}^{{tree}}"):
            raise UsageError(f"git {self.name}: the changes for {branch} change nothing")
        await self._fetch()
        there = await self._same(branch, root, tree)
        if there is not None:
            return there
        commit = await self._write_commit(tree, [root], message)
        try:
            await self._push(commit, branch, expected="")
        except ConflictError:
            # Another worker proposed at the same moment: the same thing is as good as ours.
            await self._fetch()
            there = await self._same(branch, root, tree)
            if there is None:
                raise
            return there
        return commit

    async def merge(self, revision: str, *, expected: str) -> str:
        """Fast-forward production to `revision`, or merge it; see the protocol."""
        commit = await self._commit(revision)
        head = await self.head()
        if await self._is_ancestor(commit, head):
            return head
        if head != await self._commit(expected):
            raise ConflictError(
                f"git {self.name}: {self.options.branch} moved from {expected[:12]} to {head[:12]} meanwhile"
            )
        if await self._is_ancestor(head, commit):
            new = commit
        else:
            tree = await self._merged_tree(head, commit)
            subject = (await self._git.run("log", "-1", "--format=%s", commit)).text
            new = await self._write_commit(tree, [head, commit], f"Merge {commit[:12]}: {subject}")
        await self._push(new, self.options.branch, expected=head)
        await self._fetch()
        return new

    async def revert(self, revision: str, message: str) -> str:
        """Take a commit back by a new one on production; the head as it is where that was done before."""
        commit = await self._commit(revision)
        trailer = f"This reverts commit {commit}."
        for attempt in range(1, _TRIES + 1):
            head = await self.head()
            if not await self._is_ancestor(commit, head):
                raise UsageError(f"git {self.name}: {commit[:12]} is not part of {self.options.branch}")
            done = await self._git.run("log", "-1", "--format=%H", "-F", f"--grep={trailer}", f"{commit}..{head}")
            if done.text:
                return head
            new = await self._reverted(commit, head, f"{message}\n\n{trailer}\n")
            if new == head:
                return head
            try:
                await self._push(new, self.options.branch, expected=head)
            except ConflictError:
                if attempt == _TRIES:
                    raise
                continue
            await self._fetch()
            return new
        raise AssertionError("the last try returns or raises")

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _clone(self) -> None:
        # Made aside and moved into place: a clone that was cut off is never taken for a whole one.
        with tempfile.TemporaryDirectory(dir=self._home) as room:
            fresh = Path(room) / "clone.git"
            answer = await self._git.outside("init", "--quiet", "--bare", str(fresh))
            if answer.code:
                raise self._git.error("init", answer)
            if self._git.directory.exists():
                shutil.rmtree(self._git.directory)
            fresh.rename(self._git.directory)

    async def _fetch(self) -> None:
        async with self._locked():
            await self._git.run(
                *("fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head"),
                *("origin", "+refs/heads/*:refs/remotes/origin/*"),
            )

    async def _head(self) -> str:
        answer = await self._git.run("rev-parse", "--verify", "--quiet", self._production, allowed=(0, 1))
        if answer.code:
            raise SetupError(
                f"git {self.name}: the remote has no branch {self.options.branch!r}", hint="check branch of this source"
            )
        return answer.text

    async def _commit(self, revision: str) -> str:
        """The full id of a commit; SourceError where it is not known, also after fetching."""
        if not _REVISION.match(revision):
            raise UsageError(f"not a commit id: {revision[:80]!r}")
        for fetched in (False, True):
            answer = await self._git.run(
                "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", allowed=(0, 1, 128)
            )
            if not answer.code:
                return answer.text
            if not fetched:
                await self._fetch()
        raise SourceError(f"git {self.name}: there is no commit {revision[:12]}", hint="was its branch deleted?")

    async def _resolve(self, name: str) -> str:
        return (await self._git.run("rev-parse", "--verify", name)).text

    async def _is_ancestor(self, older: str, newer: str) -> bool:
        answer = await self._git.run("merge-base", "--is-ancestor", older, newer, allowed=(0, 1))
        return answer.code == 0

    def _full(self, path: str) -> str:
        inner = self.options.subdirectory
        return f"{inner}/{inside(path)}" if inner else inside(path)

    def _check_branch(self, branch: str) -> None:
        if not _BRANCH.match(branch) or ".." in branch or branch.endswith((".lock", "/", ".")):
            raise UsageError(f"not a branch name: {branch!r}")
        if branch == self.options.branch:
            raise UsageError(f"git {self.name}: {branch} is production; propose on a branch of its own")

    async def _tree(self, base: str, changes: Mapping[str, str]) -> str:
        """The tree of `base` with changes laid over it, made in an index of its own."""
        if not changes:
            raise UsageError(f"git {self.name}: no changes were given")
        entries = []
        for path, text in changes.items():
            full = self._full(path)
            mode = await mode_of(self._git, base, full) or "100644"
            blob = (await self._git.run("hash-object", "-w", "--stdin", given=text.encode())).text
            entries.append(f"{mode} {blob}\t{full}\0".encode())
        with tempfile.TemporaryDirectory(dir=self._home) as room:
            env = {"GIT_INDEX_FILE": str(Path(room) / "index")}
            await self._git.run("read-tree", base, env=env)
            await self._git.run("update-index", "--add", "-z", "--index-info", env=env, given=b"".join(entries))
            return (await self._git.run("write-tree", env=env)).text

    async def _write_commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        who = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", self.options.author_name), ("EMAIL", self.options.author_email))
        }
        arguments = [word for parent in parents for word in ("-p", parent)]
        answer = await self._git.run("commit-tree", tree, *arguments, "-F", "-", env=who, given=message.encode())
        return answer.text

    async def _same(self, branch: str, root: str, tree: str) -> str | None:
        """The commit a proposed branch already holds; None where there is no such branch."""
        reference = f"refs/remotes/origin/{branch}"
        answer = await self._git.run("rev-parse", "--verify", "--quiet", reference, allowed=(0, 1))
        if answer.code:
            return None
        line = (await self._git.run("log", "-1", "--format=%T %P", answer.text)).text
        if line != f"{tree} {root}":
            raise ConflictError(
                f"git {self.name}: branch {branch} is there already, with other content",
                hint="delete it at the remote, or propose under another name",
            )
        return answer.text

    async def _merged_tree(self, ours: str, theirs: str) -> str:
        answer = await self._git.run(
            "merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs, allowed=(0, 1)
        )
        tree, *paths = answer.text.split("\n")
        if answer.code:
            touched = ", ".join(dict.fromkeys(p for p in paths if p))
            raise ConflictError(
                f"git {self.name}: {theirs[:12]} does not merge into {ours[:12]}: both change {touched}",
                hint="somebody else changed the same lines; look at both",
            )
        return tree

    async def _reverted(self, commit: str, head: str, message: str) -> str:
        """A commit on `head` without what `commit` brought; `head` itself where nothing of it is left."""
        parents = (await self._git.run("log", "-1", "--format=%P", commit)).text.split()
        if parents:
            before = await self._resolve(f"{parents[0]}^{{tree}}")
        else:
            before = (await self._git.run("hash-object", "-w", "-t", "tree", "--stdin", given=b"")).text
        # A commit that undoes `commit` right after it, merged into head: the merge base is then `commit` itself.
        undoing = await self._write_commit(before, [commit], "undo")
        tree = await self._merged_tree(head, undoing)
        if tree == await self._resolve(f"{head}^{{tree}}"):
            return head
        return await self._write_commit(tree, [head], message)

    async def _push(self, commit: str, branch: str, *, expected: str) -> None:
        reference = f"refs/heads/{branch}"
        answer = await self._git.run(
            *("push", "--porcelain", "--no-verify", f"--force-with-lease={reference}:{expected}"),
            *("origin", f"{commit}:{reference}"),
            allowed=(0, 1, 128),
        )
        if answer.code:
            raise self._push_error(branch, answer)

    def _push_error(self, branch: str, answer: Answer) -> SwarmError:
        refused = [line for line in answer.text.split("\n") if line.startswith("!")]
        said = " ".join(refused).replace("\t", " ")
        if refused and _RACED.search(said + answer.complaint):
            return ConflictError(f"git {self.name}: {branch} moved at the remote while it was being pushed")
        if refused:
            return PermanentError(
                f"git {self.name}: the remote refuses the push to {branch}: {said} {answer.complaint}"[:600],
                hint="is the branch protected? Let the swarm's account push, or let humans merge",
            )
        return self._git.error("push", answer)

    async def _check_out(self, commit: str, place: Path) -> None:
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._home) as room:
            env = {"GIT_INDEX_FILE": str(Path(room) / "index")}
            files = Path(room) / "files"
            files.mkdir()
            await self._git.run("read-tree", commit, env=env)
            await self._git.run("--work-tree", str(files), "checkout-index", "--all", "--force", env=env)
            await asyncio.to_thread(refuse_escaping_links, files, self.name)
            files.rename(place)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """One process at a time changes the clone; the lock goes with the process that holds it."""
        handle = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await self._wait_for_lock(handle)
            yield
        finally:
            os.close(handle)

    async def _wait_for_lock(self, handle: int) -> None:
        try:
            async with asyncio.timeout(self.options.timeout_seconds):
                while not _try_lock(handle):  # noqa: ASYNC110 - another process gives no event
                    await asyncio.sleep(_LOCK_POLL_SECONDS)
        except TimeoutError:
            raise TransientError(f"git {self.name}: another process holds the clone for too long") from None


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
