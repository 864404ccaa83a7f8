"""How values of ours go to PostgreSQL: assets as text, dicts as jsonb, long arrays packed at once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg.types.json import JsonbDumper

from config.assets import Asset


class _AssetDumper(psycopg.adapt.Dumper):
    oid = psycopg.adapters.types["text"].oid

    def dump(self, obj: Asset) -> bytes:
        return str(obj).encode()


class Numbers(list[int]):
    """Whole numbers as a bigint[]: packed at once, where the driver goes through a list item by item."""


class Tokens(list[UUID | None]):
    """Tokens as a uuid[], packed at once."""


def _packed(oid: int, items: Sequence[bytes]) -> bytes:
    """PostgreSQL's binary form of an array of one dimension."""
    if not items:
        return struct.pack(">iii", 0, 0, oid)
    return struct.pack(">iiiii", 1, 0, oid, len(items), 1) + b"".join(items)


def literal(values: Sequence[str | None]) -> str:
    """Texts as one literal of a text[]: item by item the driver takes ten times as long for what is full of quotes.

    They hold no NUL (`forms.text` refuses it), which parts them here while all are quoted at once.
    """
    if None not in values:
        return _quoted("\0".join(cast("Sequence[str]", values))) if values else "{}"
    return "{" + ",".join("NULL" if value is None else _quoted(value)[1:-1] for value in values) + "}"


def _quoted(joined: str) -> str:
    return '{"' + joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","') + '"}'


class _NumbersDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY
    oid = psycopg.adapters.types["int8"].array_oid

    def dump(self, obj: Numbers) -> bytes:
        pack = struct.Struct(">iq").pack
        return _packed(psycopg.adapters.types["int8"].oid, [pack(8, number) for number in obj])


class _TokensDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY
    oid = psycopg.adapters.types["uuid"].array_oid

    def dump(self, obj: Tokens) -> bytes:
        items = [b"\xff\xff\xff\xff" if token is None else b"\0\0\0\x10" + token.bytes for token in obj]
        return _packed(psycopg.adapters.types["uuid"].oid, items)


def register(connection: psycopg.AsyncConnection[Any]) -> None:
    """Dicts go in as jsonb, assets as text; both come back as Python's JSON and str."""
    connection.adapters.register_dumper(dict, JsonbDumper)
    connection.adapters.register_dumper(Asset, _AssetDumper)
    connection.adapters.register_dumper(Numbers, _NumbersDumper)
    connection.adapters.register_dumper(Tokens, _TokensDumper)
