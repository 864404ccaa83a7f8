"""A peer in an environment of its own: one JSON question a line on stdin, one JSON answer a line on stdout.

    load count              remember so many items, by COPY where the peer's own way would take minutes
    search [agent]          every question; → seconds each, and the numbers found
    get count               so many items by id; → seconds each
    write count, start      one at a time, durable, with its vector; → seconds in all
    batch count, start      by the hundred; → seconds in all

Started as `python -m benchmarks.memory.peer NAME URL QUESTIONS CORPUS`.
"""

from __future__ import annotations

import json
import random
import sys
import time
import uuid
from importlib import import_module
from typing import Any

from benchmarks.memory.corpus import CORPORA, DIMENSIONS, Corpus, Item

TOP = 10


class LangGraph:
    """LangGraph's PostgresStore with an HNSW index of its defaults."""

    def __init__(self, url: str) -> None:
        postgres = import_module("langgraph.store.postgres")
        self.url = url
        self.vectors: dict[str, list[float]] = {}
        self._manager = postgres.PostgresStore.from_conn_string(
            url,
            pool_config={"min_size": 1, "max_size": 4},
            index={"dims": DIMENSIONS, "embed": self.embed, "fields": ["text"]},
        )
        self.store = self._manager.__enter__()
        self.store.setup()

    def embed(self, texts: Any) -> list[list[float]]:
        """Vectors that are known already: no model is measured."""
        return [self.vectors[text] for text in texts]

    def load(self, corpus: Corpus, count: int) -> None:
        """By COPY, its index rebuilt as it defines it."""
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self.url, autocommit=True) as connection:
            index: Any = connection.execute(
                "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'store_vectors' AND indexdef ~ 'hnsw'"
            ).fetchone()
            _there(index)
            connection.execute(f'DROP INDEX "{index[0]}"')
            for table, columns in (
                ("store", "prefix, key, value"),
                ("store_vectors", "prefix, key, field_name, embedding"),
            ):
                with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for item in corpus.items(count):
                        rest = (json.dumps(_value(item)),) if table == "store" else ("text", json.dumps(item.vector))
                        copy.write_row(("items", str(item.number), *rest))
            connection.execute(index[1])
            connection.execute("ANALYZE")

    def search(self, words: str, vector: list[float], agent: str | None) -> list[int]:
        """The nearest ten."""
        self.vectors[words] = vector
        found = self.store.search(("items",), query=words, limit=TOP, filter={"agent": agent} if agent else None)
        return [int(item.key) for item in found]

    def get(self, number: int) -> None:
        """One by its key."""
        _there(self.store.get(("items",), str(number)))

    def write(self, items: list[Item]) -> None:
        """With their vectors."""
        put = import_module("langgraph.store.base").PutOp
        self.vectors = {item.text: item.vector for item in items}
        self.store.batch([put(("items",), str(item.number), _value(item)) for item in items])


class Mem0:
    """mem0's pgvector store with its HNSW index."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = import_module("mem0.vector_stores.pgvector").PGVector(
            dbname="",
            collection_name="items",
            embedding_model_dims=DIMENSIONS,
            user="",
            password="",
            host="",
            port=0,
            diskann=False,
            hnsw=True,
            connection_string=url,
        )
        self.store._ensure_collection()  # noqa: SLF001 - it has no other door before the first use

    def load(self, corpus: Corpus, count: int) -> None:
        """By COPY, its index rebuilt as it defines it."""
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self.url, autocommit=True) as connection:
            definition: Any = connection.execute(
                "SELECT indexdef FROM pg_indexes WHERE indexname = 'items_hnsw_idx'"
            ).fetchone()
            _there(definition)
            connection.execute("DROP INDEX items_hnsw_idx")
            with connection.cursor().copy("COPY items (id, vector, payload) FROM STDIN") as copy:
                for item in corpus.items(count):
                    copy.write_row((_uuid(item.number), json.dumps(item.vector), json.dumps(_value(item))))
            connection.execute(definition[0])
            connection.execute("ANALYZE")

    def search(self, words: str, vector: list[float], agent: str | None) -> list[int]:
        """The nearest ten."""
        found = self.store.search(words, vector, top_k=TOP, filters={"agent": agent} if agent else None)
        return [uuid.UUID(item.id).int for item in found]

    def get(self, number: int) -> None:
        """One by its id."""
        _there(self.store.get(_uuid(number)))

    def write(self, items: list[Item]) -> None:
        """With their vectors."""
        self.store.insert([i.vector for i in items], [_value(i) for i in items], [_uuid(i.number) for i in items])


def _there(found: object) -> None:
    if found is None:
        raise LookupError("the peer has not what it was given")


def _uuid(number: int) -> str:
    return str(uuid.UUID(int=number))


def _value(item: Item) -> dict[str, str]:
    return {"text": item.text, "agent": item.agent, "asset": item.asset}


def main() -> None:
    """Answer until the input ends."""
    name, url, questions, about = sys.argv[1:5]
    told, sys.stdout = sys.stdout, sys.stderr  # what libraries print does not mix with answers
    corpus = CORPORA[about]()
    asked = corpus.questions(int(questions))
    peer: LangGraph | Mem0 = LangGraph(url) if name == "langgraph" else Mem0(url)
    loaded = 0
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        began = time.perf_counter()
        if order["do"] == "load":
            loaded = order["count"]
            peer.load(corpus, loaded)
        elif order["do"] == "search":
            seconds, found = [], []
            for question in asked:
                began = time.perf_counter()
                found.append(peer.search(question.words, question.vector, order["agent"]))
                seconds.append(time.perf_counter() - began)
            answer = {"seconds": seconds, "found": found}
        elif order["do"] == "get":
            numbers, seconds = random.Random(1), []
            for _ in range(order["count"]):
                number = numbers.randrange(loaded)
                began = time.perf_counter()
                peer.get(number)
                seconds.append(time.perf_counter() - began)
            answer = {"seconds": seconds}
        else:
            size = 1 if order["do"] == "write" else 100
            items = list(corpus.items(order["count"], start=order["start"]))
            began = time.perf_counter()
            for first in range(0, len(items), size):
                peer.write(items[first : first + size])
        answer["all"] = time.perf_counter() - began
        told.write(json.dumps(answer) + "\n")
        told.flush()


if __name__ == "__main__":
    main()
