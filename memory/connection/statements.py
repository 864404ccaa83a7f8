"""The named SQL statements of the room, read from `memory/sql/<noun>.sql`.

A file holds statements of the form

    -- name: claim_tasks
    -- index: tasks_queue (agent, kind, priority desc, id + 0)
    SELECT …;

`-- index:` says what serves the statement. `-- session:` in its place marks a session command (BEGIN, LISTEN),
which PostgreSQL cannot PREPARE. Parameters are psycopg's `%(name)s`; every statement may use `%(now)s`, which is
NULL in production: `coalesce(%(now)s::timestamptz, statement_timestamp())`. A literal percent sign is `%%`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_HEAD = re.compile(r"^-- name: *(?P<name>[a-z][a-z0-9_]*) *$", re.MULTILINE)
_SERVED = re.compile(r"^-- (index|session): *\S", re.MULTILINE)
_SESSION = re.compile(r"^-- session:", re.MULTILINE)


def nouns() -> list[str]:
    """The nouns that have statements, sorted."""
    folder = files("memory") / "sql"
    return sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".sql"))


@cache
def load(noun: str) -> Mapping[str, str]:
    """The statements of one noun, by name.

    Raises:
        ValueError: a statement without its `-- index:` line, or a name given twice.
        FileNotFoundError: there is no such noun.
    """
    text = (files("memory") / "sql" / f"{noun}.sql").read_text(encoding="utf-8")
    heads = list(_HEAD.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    found: dict[str, str] = {}
    for head, end in zip(heads, ends, strict=True):
        name, body = head["name"], text[head.end() : end].strip().removesuffix(";")
        if name in found:
            raise ValueError(f"memory/sql/{noun}.sql names {name} twice")
        if not _SERVED.search(body):
            raise ValueError(f"memory/sql/{noun}.sql: {name} does not say which index serves it")
        found[name] = body
    return MappingProxyType(found)


@cache
def all() -> Mapping[str, str]:  # noqa: A001 - reads as statements.all()
    """Every statement of every noun, by name.

    Raises:
        ValueError: two nouns use the same name.
    """
    found: dict[str, str] = {}
    for noun in nouns():
        for name, body in load(noun).items():
            if name in found:
                raise ValueError(f"the statement {name} stands in two files, memory/sql/{noun}.sql is one")
            found[name] = body
    return MappingProxyType(found)


def is_session_command(body: str) -> bool:
    """Is it a command to the session (BEGIN, LISTEN), which cannot be PREPAREd?"""
    return _SESSION.search(body) is not None
