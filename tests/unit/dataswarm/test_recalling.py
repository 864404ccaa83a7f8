"""Searching from outside: vectors where a model is configured, words and a note where it cannot be asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from config.errors import SetupError, TransientError
from config.settings import Settings
from dataswarm.recalling import Searching
from memory.access import accesses
from memory.beliefs import knowledge
from memory.connection.database import Database
from memory.finding.filling import Filler
from tests.memory.stage import ORDERS
from tests.unit.dataswarm.program import Program, program, write_config

__all__ = ["program"]
FACTS = ("amounts are in cents", "half the rows", "prices in euros")


class Toy:
    """A model that counts a few words; it is away when told to be."""

    name = "openai:toy"

    def __init__(self) -> None:
        self.away = False
        self.dimensions = 4

    async def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text."""
        if self.away:
            raise TransientError("the provider is away")
        words = ("cents", "euros", "rows", "schema", *(f"w{n}" for n in range(self.dimensions)))[: self.dimensions]
        return [[1.0 + text.count(word) for word in words] for text in texts]

    async def question(self, text: str) -> list[float]:
        """The vector of a question."""
        return (await self.documents([text]))[0]


@pytest.fixture
async def toy(db: Database) -> Toy:
    """A few facts on the blackboard, and the model to be asked."""
    async with db.transaction() as tx:
        for number, text in enumerate(FACTS):
            await knowledge.assert_fact(tx, "ann", ORDERS, f"note-{number}", text, expected=0)
    return Toy()


def searching(db: Database, toy: Toy, name: str | None = "openai:toy") -> Searching:
    """Searches with that model configured."""
    settings = Settings.model_validate({"embedding": {"name": name}})
    return Searching(db, lambda: settings, make=lambda _: toy)


async def test_vectors_are_used_where_there_are_some(db: Database, toy: Toy) -> None:
    """The answer names the model, how far its vectors reach and each item's place in both arms; who asked is kept."""
    await Filler(db, toy, batch=2).once()
    found = await searching(db, toy).search("cents euros", by="ann", nouns=["fact"])
    assert (found["model"], found["way"], found["note"]) == ("openai:toy", "exact", "")
    assert found["coverage"] == pytest.approx(2 / 3)
    arms = {one["kind"]: (one["embedded"], one["vector_rank"]) for one in found["found"]}
    assert arms == {"note-0": (True, 1), "note-1": (True, 2), "note-2": (False, None)}
    async with db.transaction() as tx:
        assert {one.query for one in await accesses(tx, who="ann") if one.verb == "read"} == {"cents euros"}


async def test_whatever_is_in_the_way_the_words_answer(db: Database, toy: Toy) -> None:
    """Nothing embedded yet, a provider that is away, other dimensions, a model that cannot be made: each is said."""
    search = searching(db, toy)
    assert "nothing was embedded by openai:toy yet" in (await search.search("cents", by="ann"))["note"]
    await Filler(db, toy).once()
    toy.away = True
    told = await search.search("cents", by="ann")
    assert told["note"] == "searched by words alone: the provider is away"
    assert (told["model"], told["coverage"], told["found"][0]["kind"]) == ("", None, "note-0")
    toy.away, toy.dimensions = False, 3
    assert "other dimensions" in (await search.search("cents", by="ann"))["note"]
    toy.dimensions = 4
    assert (await search.search("cents", by="ann"))["note"] == ""

    def unusable(_: Any) -> Any:
        raise SetupError("the provider of it is not installed")

    settings = Settings.model_validate({"embedding": {"name": "odd:model"}})
    told = await Searching(db, lambda: settings, make=unusable).search("cents", by="ann")
    assert (told["note"], len(told["found"])) == ("searched by words alone: the provider of it is not installed", 1)


async def test_the_model_before_serves_until_the_new_one_is_filled_in(db: Database, toy: Toy) -> None:
    """It is made again from the name of its vectors, once; where it is not to be had, the new one answers."""
    await Filler(db, toy).once()
    new = Toy()
    new.name = "openai:new"
    await Filler(db, new, batch=2).once()
    made: list[str] = []

    def remake(name: str, _: Any) -> Toy:
        made.append(name)
        return toy

    settings = Settings.model_validate({"embedding": {"name": "openai:new"}})
    searches = Searching(db, lambda: settings, make=lambda _: new, remake=remake)
    for _ in range(2):
        told = await searches.search("cents", by="ann", nouns=["fact"])
        assert (told["model"], told["coverage"], told["note"]) == ("openai:toy", 1.0, "")
    assert made == ["openai:toy"]
    toy.away = True
    told = await searches.search("cents euros", by="ann", nouns=["fact"])
    assert (told["model"], told["coverage"]) == ("openai:new", pytest.approx(2 / 3))
    toy.away = False
    await Filler(db, new, batch=2).once()
    assert (await searches.search("cents", by="ann"))["model"] == "openai:new"


async def test_vectors_too_long_for_an_index_are_said_to_be(db: Database, toy: Toy) -> None:
    """Above 4,000 dimensions every vector is compared: the answer is exact, and says what it costs."""
    toy.dimensions = 4100
    await Filler(db, toy).once()
    told = await searching(db, toy).search("cents", by="ann")
    assert (told["model"], told["way"]) == ("openai:toy", "exact")
    assert "4100 dimensions, an index holds 4000 at most" in told["note"]


async def test_without_a_model_or_a_question_nothing_is_asked(db: Database, toy: Toy) -> None:
    """Words are enough by default, and what is newest needs no vector: neither is worth a note."""
    toy.away = True
    assert (await searching(db, toy, None).search("cents", by="ann"))["note"] == ""
    newest = await searching(db, toy).search("", by="ann")
    assert (newest["way"], newest["note"], len(newest["found"])) == ("newest", "", 3)


class Provider(BaseHTTPRequestHandler):
    """An OpenAI-compatible address."""

    status = 200

    def do_POST(self) -> None:
        """Answer /v1/embeddings."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        data = [
            {"object": "embedding", "index": n, "embedding": [1.0 + text.count("cents"), 1.0, 0.5]}
            for n, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        answer = json.dumps({"object": "list", "model": body["model"], "data": data, "usage": usage}).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep quiet."""


@pytest.fixture
def provider() -> Iterator[str]:
    """A provider on this machine; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_command_asks_the_configured_model(
    program: Program, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the wire; `--explain` shows the arms and the coverage; a provider that fails leaves the words and a note."""
    write_config(program, embedding={"name": "openai:tiny", "base_url": provider, "timeout_seconds": 20})

    async def remember(database: Database) -> None:
        from memory.finding import embedders  # noqa: PLC0415 - imports what only this needs

        async with database.transaction() as tx:
            for number, text in enumerate(FACTS):
                await knowledge.assert_fact(tx, "ann", ORDERS, f"note-{number}", text, expected=0)
        await Filler(database, embedders.from_model("openai:tiny", base_url=provider)).once()

    program.seed(remember)
    found = program.json("memory", "search", "cents")
    assert (found["model"], found["coverage"], found["found"][0]["vector_rank"]) == ("openai:tiny", 1.0, 1)
    shown = program("memory", "search", "cents", "--explain").output
    for words in ("by vectors of openai:tiny (exact)", "100% of what was considered", "by vector"):
        assert words in shown, shown
    monkeypatch.setattr(Provider, "status", 500)
    failed = program("memory", "search", "cents")
    assert failed.exit_code == 0
    assert "searched by words alone: openai:tiny answered with status 500" in failed.output
    assert "amounts are in cents" in failed.output
    assert json.loads(program("memory", "search", "cents", "--json").stdout)["model"] == ""
