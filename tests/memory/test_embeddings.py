"""Embeddings: filled in the background, nothing lost when a provider fails, one model replaced by another."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from config.errors import PermanentError, SetupError, SwarmError, TransientError, UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding import embedders, embeddings, filling, recall
from memory.finding.embeddings import Model
from memory.finding.filling import Filled, Filler
from tests.memory.conftest import Clock
from tests.memory.stage import ORDERS


class Toy:
    """A test double: counts a few words. Fails as it is told."""

    def __init__(self, name: str = "toy", dimensions: int = 4) -> None:
        self.name = name
        self.dimensions = dimensions
        self.refuses = ""
        self.away = False
        self.called = asyncio.Event()

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text."""
        self.called.set()
        if self.away:
            raise TransientError("the provider is away")
        if self.refuses and any(self.refuses in text for text in texts):
            raise PermanentError("the provider refuses this text")
        words = ("cents", "euros", "rows", "schema", *(f"w{n}" for n in range(self.dimensions)))
        return [[1.0 + text.count(word) for word in words[: self.dimensions]] for text in texts]

    async def question(self, text: str) -> list[float]:
        """The vector of a question."""
        return (await self.documents([text]))[0]


async def believe(db: Database, *texts: str, first: int = 0) -> None:
    """Facts with these words."""
    async with db.transaction() as tx:
        for number, text in enumerate(texts, first):
            await knowledge.assert_fact(tx, "ann", ORDERS, f"note-{number}", text, expected=0)


async def covered(db: Database) -> dict[str, tuple[int, int, int]]:
    """Embedded, pending and failing, by model."""
    async with db.transaction() as tx:
        return {c.model: (c.embedded, c.pending, c.failing) for c in await embeddings.coverage(tx)}


async def test_what_waits_is_filled_in_batches(db: Database) -> None:
    """Everything known when the model came and everything since; then the answer is fused and says so."""
    await believe(db, "amounts are in cents", "half the rows", "prices in euros")
    toy = Toy()
    filler = Filler(db, toy, batch=2)
    assert await filler.once() == Filled(stored=2)
    assert await filler.once() == Filled(stored=1)
    assert await filler.once() == Filled()
    await believe(db, "a schema", first=10)
    assert await covered(db) == {"toy": (3, 1, 0)}
    assert await filler.once() == Filled(stored=1)
    answer = await filling.answer(db, [toy], "cents", nouns=["fact"])
    assert (answer.model, answer.way, answer.coverage) == ("toy", "exact", 1.0)
    assert answer.found[0].kind == "note-0"
    assert (answer.found[0].words_rank, answer.found[0].vector_rank) == (1, 1)


async def test_a_provider_that_fails_loses_nothing(db: Database, clock: Clock) -> None:
    """Away: all wait on with the error, later each time. Refusing one text: that one alone waits."""
    await believe(db, *(f"words {n}" for n in range(5)), "poison", "more words")
    toy = Toy()
    filler = Filler(db, toy)
    toy.away = True
    with pytest.raises(TransientError):
        await filler.once()
    assert await covered(db) == {}
    toy.away = False
    toy.refuses = "poison"
    assert await filler.once() == Filled(stored=6, failed=1, problem="the provider refuses this text")
    assert await covered(db) == {"toy": (6, 1, 1)}
    toy.away = True
    clock.forward(6)
    assert (await filler.once()).problem == "the provider is away"
    clock.forward(6)
    assert await filler.once() == Filled()
    toy.away, toy.refuses = False, ""
    clock.forward(6)
    assert await filler.once() == Filled(stored=1)
    assert await covered(db) == {"toy": (7, 0, 0)}


async def test_other_dimensions_are_written_nowhere(db: Database, clock: Clock) -> None:
    """A provider that changes its dimensions behind its name: an error per text, nothing stored, nothing lost."""
    await believe(db, "one", "two")
    toy = Toy()
    filler = Filler(db, toy, batch=1)
    assert await filler.once() == Filled(stored=1)
    toy.dimensions = 3
    assert await filler.once() == Filled(failed=1, problem="vectors of 3 dimensions came where the model has 4")
    assert await covered(db) == {"toy": (1, 1, 1)}
    with pytest.raises(UsageError, match="has 4 dimensions here, not 3"):
        await Filler(db, toy).once()
    async with db.transaction() as tx:
        with pytest.raises(UsageError, match="has 4 dimensions here, not 3"):
            await recall.recall(tx, "one", vector=[1, 2, 3], model="toy")
    answer = await filling.answer(db, [toy], "one")
    toy.away = True
    clock.forward(1)
    assert (await filling.answer(db, [toy], "one")).found[0].kind == "note-0"
    assert answer.found


async def test_a_new_model_takes_over_when_it_has_come_far_enough(db: Database) -> None:
    """The old one serves meanwhile; then it goes with its vectors."""
    await believe(db, *(f"words {n}" for n in range(10)))
    old, new = Toy("old"), Toy("new", dimensions=6)
    await Filler(db, old).once()
    filler = Filler(db, new, batch=5, serving_from=0.9)
    assert await filler.once() == Filled(stored=5)
    async with db.transaction() as tx:
        assert {m.name: m.state for m in (await embeddings.models(tx)).values()} == {"old": "serving", "new": "filling"}
    assert (await filling.answer(db, [new, old], "words")).model == "old"
    assert (await filling.answer(db, [new], "words")).model == "new"
    assert await filler.once() == Filled(stored=5)
    async with db.transaction() as tx:
        assert await embeddings.models(tx) == {"new": Model("new", 6, "serving")}
    assert await covered(db) == {"new": (10, 0, 0)}
    answer = await filling.answer(db, [old], "words")
    assert (answer.model, len(answer.found)) == ("", 10)


async def test_more_than_4000_dimensions_are_searched_exactly(db: Database, owner_url: str) -> None:
    """No index can hold them; the answer says how it was found."""
    await believe(db, "cents", "euros")
    toy = Toy("wide", dimensions=4100)
    assert await Filler(db, toy).once() == Filled(stored=2)
    answer = await filling.answer(db, [toy], "euros")
    assert answer.way == "exact"
    assert answer.found[0].kind == "note-1"


async def test_a_change_of_filters_reaches_the_vectors(db: Database, owner_url: str) -> None:
    """What is raised in sensitivity, or changes hands, is filtered by what it is now; its vector stays."""
    await believe(db, "cents")
    toy = Toy()
    await Filler(db, toy).once()
    async with db.transaction() as tx:
        await knowledge.assert_fact(tx, "bob", ORDERS, "note-0", "cents", expected=1, confidence=0.5)
    assert await covered(db) == {"toy": (1, 0, 0)}
    assert len((await filling.answer(db, [toy], "", agents=["bob"])).found) == 1
    assert (await filling.answer(db, [toy], "cents", agents=["ann"])).found == ()


async def test_the_loop_fills_until_it_is_stopped(db: Database) -> None:
    """Runs on through errors, and ends when told."""
    await believe(db, "cents")
    toy = Toy()
    toy.away = True
    stop = asyncio.Event()
    loop = asyncio.create_task(Filler(db, toy).run(stop, pause_seconds=0.01))
    async with asyncio.timeout(10):
        await toy.called.wait()
        toy.away = False
        toy.called.clear()
        while (await covered(db)).get("toy", (0, 0, 0))[0] != 1:
            await toy.called.wait()
        stop.set()
        await loop


class Provider(BaseHTTPRequestHandler):
    """An OpenAI-compatible address."""

    status = 200
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Answer /v1/embeddings."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).seen.append({"path": self.path, "authorization": self.headers["authorization"], **body})
        answer = json.dumps(
            {
                "object": "list",
                "model": body["model"],
                "data": [
                    {"object": "embedding", "index": n, "embedding": [float(len(text)), 1.0, 0.0]}
                    for n, text in enumerate(body["input"])
                ],
                "usage": {"prompt_tokens": 3, "total_tokens": 3},
            }
            if self.status == 200
            else {"error": {"message": "the text was: hunter2"}}
        ).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep quiet."""


@pytest.fixture
def provider() -> Iterator[tuple[str, type[Provider]]]:
    """A provider on this machine, and its address."""

    class Mine(Provider):
        seen: list[dict[str, Any]] = []  # noqa: RUF012 - one provider, one list

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", Mine
    server.shutdown()
    server.server_close()
    thread.join()


async def test_the_wire_format_of_any_compatible_address(db: Database, provider: tuple[str, type[Provider]]) -> None:
    """Real requests through pydantic-ai: documents, a question, the key; failures by kind, without what was sent."""
    url, served = provider
    embedder = embedders.from_model("openai:tiny", base_url=url, api_key="k-123", timeout_seconds=20)
    assert await embedder.documents(["orders", "pay"]) == [[6.0, 1.0, 0.0], [3.0, 1.0, 0.0]]
    assert await embedder.question("x" * 9000) == [8000.0, 1.0, 0.0]
    assert served.seen[0]["path"] == "/v1/embeddings"
    assert (served.seen[0]["model"], served.seen[0]["authorization"]) == ("tiny", "Bearer k-123")
    await believe(db, "cents")
    assert await Filler(db, embedder).once() == Filled(stored=1)
    assert (await filling.answer(db, [embedder], "cents")).model == "openai:tiny"
    served.status = 400
    with pytest.raises(PermanentError, match="status 400") as refused:
        await embedder.documents(["hunter2"])
    assert "hunter2" not in str(refused.value)


def test_what_cannot_be_used_says_so() -> None:
    """An unknown provider, vectors that are none."""
    with pytest.raises(SetupError):
        embedders.from_model("nobody:tiny")
    with pytest.raises(SetupError):
        embedders.from_model("tiny")
    wrong: list[list[list[float]]] = [[], [[1.0], [1.0, 2.0]], [[], []], [[1.0], [float("nan")]]]
    for vectors in wrong:
        with pytest.raises(SwarmError):
            embedders.checked("tiny", ["a", "b"], vectors)
