"""Paths inside a repository, and nothing outside it: no `..`, no `.git`, nothing through a symbolic link."""

from __future__ import annotations

import os
from pathlib import Path

from config.errors import SourceError, UsageError
from integrations.repositories.git.command import Git

_LINK = "120000"
_TREE = "040000"


def inside(path: str) -> str:
    """The path as git writes it; UsageError where it is not plainly inside the repository."""
    parts = path.split("/")
    if (
        not path
        or any(p in ("", ".", "..") or p.lower().rstrip(". ") == ".git" or "git~" in p.lower() for p in parts)
        or any(ord(c) < ord(" ") or c == "\\" for c in path)
        or len(path) > os.pathconf("/", "PC_PATH_MAX")
    ):
        raise UsageError(
            f"not a path inside the repository: {path!r}", hint="write it relative to its root, as models/a.sql"
        )
    return path


async def mode_of(git: Git, tree: str, path: str) -> str | None:
    """The mode of a file in a tree; None where there is none, UsageError where the way there is no plain directory."""
    parts = inside(path).split("/")
    ways = ["/".join(parts[: i + 1]) for i in range(len(parts))]
    answer = await git.run("--literal-pathspecs", "ls-tree", "-t", "-z", tree, "--", *ways)
    found: dict[str, str] = {}
    for entry in answer.output.decode(errors="surrogateescape").split("\0"):
        mode, _, name = entry.partition("\t")
        if name:
            found[name] = mode.split()[0]
    for way in ways[:-1]:
        if found.get(way, _TREE) != _TREE:
            raise UsageError(f"not a path inside the repository: {path!r} goes through {way!r}, no directory")
    last = found.get(path)
    if last is not None and not last.startswith("100"):
        kind = "a symbolic link" if last == _LINK else "no file"
        raise UsageError(f"not a file of the repository: {path!r} is {kind}")
    return last


def refuse_escaping_links(root: Path, source: str) -> None:
    """SourceError where a symbolic link below `root` leads out of it."""
    top = root.resolve()
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            if path.is_symlink() and not path.resolve().is_relative_to(top):
                raise SourceError(
                    f"git {source}: {path.relative_to(root)} is a symbolic link out of the repository",
                    hint="take it out of the repository; a checkout with it is not used",
                )
