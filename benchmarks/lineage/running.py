"""A whole run: every contender over the same cases and queries, in turns."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.lineage.contenders import Contender, Ours, PlainSqlglot, Sqllineage
from benchmarks.lineage.questions import Question, cases, queries, wide
from benchmarks.machine import machine, versions
from benchmarks.progress import say, timed
from benchmarks.report import PRODUCT, Report, Row, Target
from config.errors import SwarmError

WIDTH = 130
REPEATED = 5
SQLGLOT, SQLLINEAGE = "sqlglot.lineage", "sqllineage"
PEERS = (SQLGLOT, SQLLINEAGE)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("--quick", action="store_true", help="one round; within half a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often each speed is measured")
    parser.add_argument("--only", choices=("ours", SQLGLOT, SQLLINEAGE), help="`ours`: no peers; else this peer alone")
    parser.add_argument("--failing", action="store_true", help="name the cases each contender gets wrong")
    parser.add_argument("--at", metavar="TIME", help="when this is, if not now (ISO 8601)")


def run(options: argparse.Namespace) -> int:
    """Measure, print and keep; 0. Raises SetupError where a peer that was asked for cannot be set up."""
    at = options.at or datetime.now(UTC).isoformat(timespec="seconds")
    rows = _rows()
    contenders: dict[str, Contender] = {PRODUCT: Ours()}
    if options.only in (None, SQLGLOT):
        contenders[SQLGLOT] = PlainSqlglot()
    other: Sqllineage | None = None
    if options.only in (None, SQLLINEAGE):
        try:
            other = contenders[SQLLINEAGE] = Sqllineage()
        except SwarmError as error:
            if options.only == SQLLINEAGE:
                raise
            say(f"without {SQLLINEAGE}: {error.message}")
            for row in rows.values():
                row.skipped[SQLLINEAGE] = error.message
    try:
        _exactness(contenders, rows, is_told=options.failing)
        _speed(contenders, rows, 1 if options.quick else options.rounds)
    finally:
        if other is not None:
            other.close()
    names = ("dataswarm", "sqlglot", "sqlglotc")
    report = Report("lineage", at, machine(), versions(names), {}, list(rows.values()))
    console = Console()
    report.show(console if console.is_terminal else Console(width=WIDTH))
    if options.json:
        report.write(options.json)
    return 0


def _rows() -> dict[str, Row]:
    own = "value edges from column to column, names in small letters; the cases are the project's own"
    return {
        row.metric: row
        for row in (
            Row("exact", "cases answered exactly", "", "higher", (Target(1.0),), note=own),
            Row("precision", "of the edges named, the right ones", "", "higher", (Target(1.0),)),
            Row("recall", "of the right edges, those named", "", "higher", (Target(1.0),)),
            Row("queries", "single queries, schema prepared", "1/s", "higher", (Target(1.0, PEERS),)),
            Row("wide", "a model of 8 steps and 40 columns", "ms", "lower", (Target(1.0, PEERS),)),
            Row("again", "the same queries when nothing changed", "1/s", "higher"),
        )
    }


def _exactness(contenders: dict[str, Contender], rows: dict[str, Row], *, is_told: bool) -> None:
    asked = cases()
    for name, contender in contenders.items():
        with timed(f"{len(asked)} cases by {name}"):
            exact = right = said = wanted = 0
            wrong = []
            for question in asked:
                found = contender.edges(question)
                exact += found == question.edges
                right += len(found & question.edges)
                said += len(found)
                wanted += len(question.edges)
                if found != question.edges:
                    wrong.append(question.name)
        rows["exact"].add(name, exact / len(asked))
        rows["precision"].add(name, right / said if said else 0.0)
        rows["recall"].add(name, right / wanted)
        if is_told:
            for case in wrong:
                say(f"  {name} is not exact: {case}")


def _speed(contenders: dict[str, Contender], rows: dict[str, Row], rounds: int) -> None:
    asked, model = queries()[:-1], [wide()]
    for number in range(rounds):
        for name, contender in contenders.items():
            with timed(f"round {number + 1} of {rounds}: {name}"):
                if number == 0:
                    contender.seconds(asked[:3], 1)  # imports and caches
                times = REPEATED if name == PRODUCT else 1  # a short measurement is a noisy one
                rows["queries"].add(name, len(asked) * times / contender.seconds(asked, times))
                rows["wide"].add(name, contender.seconds(model, 1) * 1000)
    ours = contenders[PRODUCT]
    again: Callable[[list[Question], int], float] | None = getattr(ours, "seconds_again", None)
    if again is not None:
        rows["again"].add(PRODUCT, len(asked) * 20 / again(asked, 20))
