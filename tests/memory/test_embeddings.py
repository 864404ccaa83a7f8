"""Embeddings: filled in the background, nothing lost when a provider fails, one model replaced by another."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from structlog.testing import capture_logs

from config.errors import PermanentError, SetupError, SwarmError, TransientError, UsageError
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding import embedders, embeddings, filling, recall
from memory.finding.embeddings import Model
from memory.finding.filling import Filled, Filler
from tests.memory.conftest import Clock
from tests.memory.stage import ORDERS
from tests.pace import PATIENCE


class Toy:
    """A test double: counts a few words. Fails as it is told."""

    def __init__(self, name: str = "toy", dimensions: int = 4) -> None:
        self.name = name
        self.dimensions = dimensions
        self.refuses = ""
        self.away = False
        self.called = asyncio.Event()
        self.calls = 0

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text."""
        self.called.set()
        self.calls += 1
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


async def test_a_provider_that_changed_is_not_asked_for_every_half(db: Database, clock: Clock) -> None:
    """Other dimensions, or no plain word taken any more: one try for the batch, and every text waits with the error."""
    await believe(db, *(f"words {n}" for n in range(32)))
    toy = Toy()
    filler = Filler(db, toy, batch=16)
    assert (await filler.once()).stored == 16
    toy.dimensions, toy.calls = 3, 0
    assert (await filler.once()).failed == 16
    assert toy.calls == 1
    toy.dimensions, toy.refuses, toy.calls = 4, "o", 0  # `o` stands in every text, and in the plain word
    clock.forward(6)
    assert (await filler.once()).failed == 16
    assert toy.calls == 2
    assert await covered(db) == {"toy": (16, 16, 16)}
    toy.refuses = ""
    clock.forward(60)
    assert (await filler.once()).stored == 16
    assert await covered(db) == {"toy": (32, 0, 0)}


async def test_what_waits_is_counted_with_its_age_and_its_tries(db: Database, clock: Clock) -> None:
    """The oldest text tells how far the queue is behind; each try is counted, and the last error stands with it."""
    await believe(db, "poison", "cents")
    toy = Toy()
    toy.refuses = "poison"
    filler = Filler(db, toy)
    await filler.once()
    clock.forward(90)
    await filler.once()
    async with db.transaction() as tx:
        (told,) = await embeddings.coverage(tx)
        early = await embeddings.claim(tx, "toy", lease_seconds=0)
    assert told.oldest_pending_seconds == pytest.approx(90, abs=5)
    assert (told.pending, told.failing) == (1, 1)
    assert early == []  # its pause is not over
    clock.forward(60)
    async with db.transaction() as tx:
        (due,) = await embeddings.claim(tx, "toy", lease_seconds=0)
    assert (due.attempts, "poison" in due.text) == (3, True)


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
    old.away = True
    answer = await filling.answer(db, [new, old], "words")
    assert (answer.model, answer.coverage, len(answer.found)) == ("new", 0.5, 10)  # half is better than none
    old.away = False
    assert (await filling.answer(db, [new], "words")).model == "new"
    made: list[str] = []

    async def older(name: str) -> Toy:
        made.append(name)
        if len(made) > 1:
            raise SetupError("its package is not here any more")
        return old

    assert [(await filling.answer(db, [new], "words", older=older)).model for _ in range(2)] == ["old", "new"]
    assert made == ["old", "old"]
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
    with capture_logs() as logs:
        assert await Filler(db, toy).once() == Filled(stored=2)
    assert [(one["event"], one["dimensions"], one["most"]) for one in logs] == [("embeddings.exact_only", 4100, 4000)]
    async with db.transaction() as tx:
        known = await embeddings.models(tx)
    assert (known["wide"].is_indexed, Model("toy", 4000, "serving").is_indexed) == (False, True)
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
    async with asyncio.timeout(PATIENCE):
        await toy.called.wait()
        toy.away = False
        toy.called.clear()
        while (await covered(db)).get("toy", (0, 0, 0))[0] != 1:
            await toy.called.wait()
        stop.set()
        await loop


class Provider(BaseHTTPRequestHandler):
    """An OpenAI-compatible address; it refuses texts that are longer than it reads."""

    status = 200
    longest = 10_000
    seen: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Answer /v1/embeddings."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).seen.append({"path": self.path, "authorization": self.headers["authorization"], **body})
        status = 400 if max(map(len, body["input"])) > self.longest else self.status
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
            if status == 200
            else {"error": {"message": "the text was: hunter2"}}
        ).encode()
        self.send_response(status)
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


async def test_a_text_that_is_too_long_for_the_model_is_given_in_part(
    db: Database, provider: tuple[str, type[Provider]]
) -> None:
    """A small model behind an address refuses what it cannot read: the beginning is embedded, the text is not lost."""
    url, served = provider
    served.longest = 1000
    await believe(db, "cents", "euros " * 1300, "rows")
    filler = Filler(db, embedders.from_model("openai:tiny", base_url=url, timeout_seconds=20))
    assert await filler.once() == Filled(stored=3)
    assert await covered(db) == {"openai:tiny": (3, 0, 0)}
    served.longest = 10
    with pytest.raises(PermanentError):
        await embedders.from_model("openai:tiny", base_url=url).question("x" * 8000)
    assert len(served.seen[-1]["input"][0]) == embedders.SHORTEST_TEXT


async def test_a_key_that_is_refused_blames_no_text(db: Database, provider: tuple[str, type[Provider]]) -> None:
    """One call for the batch, an error of the set-up with what to look at, and every text waits on."""
    url, served = provider
    await believe(db, "cents", "euros", "rows")
    filler = Filler(db, embedders.from_model("openai:tiny", base_url=url, timeout_seconds=20), batch=1)
    assert (await filler.once()).stored == 1
    served.status = 401
    served.seen.clear()
    filled = await filler.once()
    assert (filled.failed, len(served.seen)) == (1, 1)
    assert filled.problem == "openai:tiny answered with status 401"
    with pytest.raises(SetupError) as refused:
        await embedders.from_model("openai:tiny", base_url=url).question("orders")
    assert "key" in (refused.value.hint or "")
    assert (await covered(db))["openai:tiny"] == (1, 2, 1)


class Breaking:
    """What a model of this machine does when its memory is full, or its files are not there."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def embed(self, texts: Sequence[str], *, input_type: str) -> None:
        """Fail, quoting what was asked as libraries do."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("no memory for hunter2"), PermanentError),
        (IndexError("hunter2"), PermanentError),
        (OSError("hunter2 is no folder"), SetupError),
    ],
)
async def test_whatever_a_library_raises_is_an_error_that_can_be_dealt_with(
    db: Database, error: Exception, kind: type[SwarmError]
) -> None:
    """A text waits on with it, a question is answered by words, and what was asked is not quoted."""
    model = embedders.ModelEmbedder(f"{embedders.LOCAL}tiny", Breaking(error))
    with pytest.raises(kind) as refused:
        await model.question("hunter2")
    assert "hunter2" not in str(refused.value)
    await believe(db, "cents")
    async with db.transaction() as tx:
        await embeddings.add_model(tx, model.name, 3)
    assert (await filling.answer(db, [model], "cents")).found[0].kind == "note-0"


def test_a_model_is_made_again_from_the_name_of_its_vectors() -> None:
    """With the dimensions that were asked for; what only looks like them belongs to the name."""
    wanted = embedders.from_model("openai:tiny", base_url="http://127.0.0.1:9/v1", dimensions=128)
    for name in (wanted.name, "openai:tiny", "openai:gecko@001", "openai:dated@20261121"):
        assert embedders.remade(name, base_url="http://127.0.0.1:9/v1").name == name


def test_what_cannot_be_used_says_so() -> None:
    """An unknown provider, vectors that are none, a provider whose package is not here: with what to do."""
    with pytest.raises(SetupError, match="cannot be used") as keyless:
        embedders.from_model("nobody:tiny")
    assert keyless.value.hint
    if importlib.util.find_spec("cohere") is None:
        with pytest.raises(SetupError, match="not installed") as lacking:
            embedders.from_model("cohere:tiny")
        assert "pydantic-ai-slim[cohere]" in (lacking.value.hint or "")
    if importlib.util.find_spec("sentence_transformers") is None:
        with pytest.raises(SetupError, match="not installed") as lacking:
            embedders.from_model("sentence-transformers:tiny")
        assert "dataswarm[local-embeddings]" in (lacking.value.hint or "")
    with pytest.raises(SetupError):
        embedders.from_model("nobody:tiny")
    with pytest.raises(SetupError):
        embedders.from_model("tiny")
    wrong: list[list[list[float]]] = [[], [[1.0], [1.0, 2.0]], [[], []], [[1.0], [float("nan")]]]
    for vectors in wrong:
        with pytest.raises(SwarmError):
            embedders.checked("tiny", ["a", "b"], vectors)
