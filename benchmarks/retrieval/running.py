"""A whole run: each labelled set in a database of its own, by words, by vectors, by both at growing coverage."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.console import Console

from benchmarks.machine import machine, server_settings, versions
from benchmarks.progress import timed
from benchmarks.report import PRODUCT, Report, Row, Target
from benchmarks.retrieval import labelled
from benchmarks.retrieval.labelled import Labelled, Quality, Vectors
from config.errors import UsageError
from memory.connection.database import Database
from memory.finding import embedders
from memory.finding.embedders import Embedder
from memory.server import migrate
from memory.server.embedded import EmbeddedServer

OWN = Path(__file__).with_name("runbooks.json")
COVERAGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
DRAWS = 3  # which documents have their vectors already is drawn so often
FTS, WORDS, VECTORS = "full text, one SQL", "words alone", "vectors alone"
WIDTH = 130


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="labelled sets; default: our own")
    parser.add_argument("--model", metavar="NAME", help="an embedding model, as sentence-transformers:all-MiniLM-L6-v2")
    parser.add_argument("--vectors", type=Path, metavar="FILE", help="vectors of the one set; default: those beside it")
    parser.add_argument("--keep-vectors", action="store_true", help="write what the model made beside each set")
    parser.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible address of that model")
    parser.add_argument("--quick", action="store_true", help="one draw at each coverage")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures; several sets: FILE-<name>")
    parser.add_argument("--at", metavar="TIME", help="when this is, if not now (ISO 8601)")


def run(options: argparse.Namespace) -> int:
    """Measure, print and keep.

    Returns:
        0.

    Raises:
        UsageError: a file is no labelled set.
        SetupError: the model cannot be used, or the server does not start.
    """
    files = options.files or [OWN]
    sets = [(path, labelled.read(path)) for path in files]
    at = options.at or datetime.now(UTC).isoformat(timespec="seconds")
    if options.vectors and (len(sets) > 1 or options.model):
        raise UsageError("--vectors are of one set, and instead of a --model")
    reports = asyncio.run(_all(sets, options, at))
    console = Console()
    for (path, _), report in zip(sets, reports, strict=True):
        report.show(console if console.is_terminal else Console(width=WIDTH))
        if options.json:
            name = f"{options.json.stem}-{path.stem}" if len(sets) > 1 else options.json.stem
            report.write(options.json.with_name(name + options.json.suffix))
    return 0


def _made() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="dataswarm-retrieval-"))
    directory.chmod(0o755)  # the server runs as a user of its own where we are root
    return directory


async def _all(sets: list[tuple[Path, Labelled]], options: argparse.Namespace, at: str) -> list[Report]:
    embedder = embedders.from_model(options.model, base_url=options.base_url) if options.model else None
    draws = 1 if options.quick else DRAWS
    directory = _made()
    server = await asyncio.to_thread(EmbeddedServer.start, directory / "pg")
    reports = []
    try:
        for number, (path, given) in enumerate(sets):
            vectors = await _vectors(path, given, embedder, options.vectors)
            if embedder and vectors and options.keep_vectors:
                labelled.write_vectors(labelled.beside(path), vectors)
            with timed(f"{given.name}: {len(given.texts)} documents, {len(given.questions)} questions"):
                rows = await _measured(server, f"set_{number}", given, vectors, draws)
            told = {
                "documents": len(given.texts),
                "questions": len(given.questions),
                "draws": draws,
                "vectors": vectors.model if vectors else "none",
                "server_version": server_settings(server.url)["server_version"],
            }
            reports.append(
                Report(
                    f"retrieval, {given.name}",
                    at,
                    machine(),
                    versions(["dataswarm", "sentence-transformers", "torch"] if options.model else ["dataswarm"]),
                    told,
                    rows,
                )
            )
    finally:
        await asyncio.to_thread(server.stop)
        shutil.rmtree(directory, ignore_errors=True)
    return reports


async def _vectors(path: Path, given: Labelled, embedder: Embedder | None, file: Path | None) -> Vectors | None:
    """By the model, from the file named, from the one beside the set, or none."""
    if embedder is not None:
        return await labelled.made(embedder, given)
    kept = file or labelled.beside(path)
    if file is None and not kept.is_file():
        return None
    vectors = labelled.read_vectors(kept)
    if (len(vectors.documents), len(vectors.questions)) != (len(given.texts), len(given.questions)):
        raise UsageError(f"{kept} has the vectors of another set than {path}", hint="make them again, or take it away")
    return vectors


async def _measured(
    server: EmbeddedServer, name: str, given: Labelled, vectors: Vectors | None, draws: int
) -> list[Row]:
    rows = {
        "recall_5": Row("recall_5", "recall@5", "", "higher"),
        "recall_10": Row("recall_10", "recall@10", "", "higher", (Target(1.0, (WORDS,)),)),
        "ndcg_10": Row("ndcg_10", "nDCG@10", "", "higher"),
    }
    rows |= {
        f"coverage_{share:g}": Row(
            f"coverage_{share:g}", f"recall@10, {share:.0%} have vectors", "", "higher", (Target(1.0, (WORDS,)),)
        )
        for share in COVERAGES
    }
    server.create_database(name)
    await migrate.apply(server.url_for(database=name))
    db = await Database.open(server.url_for(database=name, user="dataswarm_worker"), application_name="dataswarm/bench")
    try:
        async with await psycopg.AsyncConnection.connect(server.url_for(database=name), autocommit=True) as owner:
            await labelled.load(db, owner, given, vectors)
            words = await labelled.measure(db, given)
            _add(rows, WORDS, words)
            _add(rows, FTS, await _full_text(owner, given))
            if vectors is None:
                _add(rows, PRODUCT, words)
                for share in COVERAGES:
                    rows[f"coverage_{share:g}"].skipped[PRODUCT] = "no vectors"
                return list(rows.values())
            for share in COVERAGES:
                row = rows[f"coverage_{share:g}"]
                row.add(WORDS, words.recall_10)
                drawn = []
                for draw in range(draws if 0 < share < 1 else 1):
                    await labelled.cover(db, owner, vectors, share, draw)
                    drawn.append(await labelled.measure(db, given, vectors))
                row.add(PRODUCT, statistics.fmean(one.recall_10 for one in drawn))
                if share == 1:
                    _add(rows, PRODUCT, drawn[0])
                    _add(rows, VECTORS, await labelled.measure(db, given, vectors, words=False))
    finally:
        await db.close()
    return list(rows.values())


def _add(rows: dict[str, Row], who: str, found: Quality) -> None:
    for metric in ("recall_5", "recall_10", "ndcg_10"):
        rows[metric].add(who, getattr(found, metric))


async def _full_text(owner: psycopg.AsyncConnection, given: Labelled) -> Quality:
    """The one-SQL form everybody writes first: all words, OR, ts_rank_cd."""
    found = []
    for question in given.questions:
        cursor = await owner.execute(
            "SELECT d.ref, ts_rank_cd(d.lexemes, q.wanted) AS rank FROM dataswarm.documents d, ("
            " SELECT string_agg(quote_literal(lexeme), ' | ')::tsquery AS wanted"
            " FROM unnest(to_tsvector('english', %s))) q WHERE d.lexemes @@ q.wanted"
            " ORDER BY rank DESC, d.ref LIMIT 10",
            [question],
        )
        found.append([row[0] for row in await cursor.fetchall()])
    return labelled.quality(found, given.relevant)
