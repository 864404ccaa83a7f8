"""Those who answer: the product, plain sqlglot, and sqllineage in a Python of its own."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Protocol

import sqlglot
from sqlglot import MappingSchema, exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node
from sqlglot.lineage import lineage as sqlglot_lineage

from benchmarks.lineage.questions import Question, folded
from benchmarks.peers.python import Told, prepared
from integrations.lineage import ROWS, Memo, Schema, columns_of

Edges = frozenset[tuple[str, str, str, str]]


class Contender(Protocol):
    """Answers questions, and says how long a list of them took."""

    def edges(self, question: Question) -> Edges:
        """The value edges from column to column; empty where it cannot say."""

    def seconds(self, questions: list[Question], rounds: int) -> float:
        """To answer all of them so many times, schemas prepared before."""


class Ours:
    """`columns_of`, as it comes."""

    def edges(self, question: Question) -> Edges:
        """As the cases compare them."""
        found = columns_of(
            question.sql,
            dialect=question.dialect,
            schema=question.schema,
            default_schema=question.default_schema,
        )
        return folded(
            {(*e.target, *e.source) for e in found.edges if e.how == "value" and ROWS not in (e.target[1], e.source[1])}
        )

    def seconds(self, questions: list[Question], rounds: int) -> float:
        """With all it finds: filters, joins and doubts too."""
        schemas = [Schema(q.schema, dialect=q.dialect) for q in questions]
        began = perf_counter()
        for _ in range(rounds):
            for question, schema in zip(questions, schemas, strict=True):
                columns_of(question.sql, dialect=question.dialect, schema=schema)
        return perf_counter() - began

    def seconds_again(self, questions: list[Question], rounds: int) -> float:
        """When nothing has changed."""
        memo = Memo()
        schemas = [Schema(q.schema, dialect=q.dialect) for q in questions]
        for question, schema in zip(questions, schemas, strict=True):
            memo.columns_of(question.sql, schema=schema)
        began = perf_counter()
        for _ in range(rounds):
            for question, schema in zip(questions, schemas, strict=True):
                memo.columns_of(question.sql, schema=schema)
        return perf_counter() - began


class PlainSqlglot:
    """`sqlglot.lineage` for all columns of a query at once, its fastest way.

    CREATE … AS and INSERT with named columns are unwrapped for it, which it does not do by itself.
    """

    def edges(self, question: Question) -> Edges:
        """Of the last statement that it can read; it knows nothing of scripts."""
        schema = {table: dict.fromkeys(columns, "text") for table, columns in question.schema.items()}
        nested: dict[str, object] = {}
        for table, columns in schema.items():
            place = nested
            *above, name = table.split(".")
            for part in above:
                inner = place.setdefault(part, {})
                assert isinstance(inner, dict)  # noqa: S101 - made here
                place = inner
            place[name] = columns
        found: set[tuple[str, str, str, str]] = set()
        try:
            for tree in sqlglot.parse(question.sql, dialect=question.dialect):
                if tree is not None:
                    found |= self._one(tree, nested, question)
        except Exception:  # noqa: BLE001 - whatever it raises, it did not answer
            return frozenset()
        return folded(found)

    def _one(self, tree: exp.Expr, schema: dict[str, object], question: Question) -> set[tuple[str, str, str, str]]:
        target, names = "result", None
        query: exp.Expr | None = tree
        if isinstance(tree, (exp.Create, exp.Insert)):
            query = tree.expression
            head = tree.this
            if isinstance(head, exp.Schema):
                names = [e.name for e in head.expressions]
                head = head.this
            target = ".".join(p.name for p in head.parts)
        if not isinstance(query, exp.Query):
            return set()
        nodes = sqlglot_lineage(None, query, schema, dialect=question.dialect)
        assert isinstance(nodes, dict)  # noqa: S101 - all columns were asked for
        found = set()
        for place, (column, node) in enumerate(nodes.items()):
            called = names[place] if names is not None and place < len(names) else column
            found |= {(target, called, *leaf) for leaf in _leaves(node)}
        return found

    def seconds(self, questions: list[Question], rounds: int) -> float:
        """With schemas prepared before."""
        schemas = []
        for question in questions:
            tables: dict[str, object] = {t: dict.fromkeys(columns, "text") for t, columns in question.schema.items()}
            schemas.append(MappingSchema(tables, dialect=question.dialect))
        began = perf_counter()
        for _ in range(rounds):
            for question, schema in zip(questions, schemas, strict=True):
                try:
                    sqlglot_lineage(None, question.sql, schema, dialect=question.dialect)
                except (SqlglotError, ValueError, KeyError, AttributeError):
                    continue
        return perf_counter() - began


def _leaves(node: Node) -> set[tuple[str, str]]:
    found = set()
    for one in node.walk():
        if isinstance(one.expression, exp.Table):
            table = ".".join(p.name for p in one.expression.parts)
            found.add((table, one.name.rpartition(".")[2]))
    return found


class Sqllineage:
    """sqllineage in a process of its own; a bare query is made a CREATE TABLE for it, which it needs."""

    def __init__(self) -> None:
        interpreter = prepared("lineage", Path(__file__).with_name("requirements-peers.txt"))
        self._told = Told(interpreter, Path(__file__).with_name("peer.py"))

    def close(self) -> None:
        """End the process."""
        self._told.close()

    def edges(self, question: Question) -> Edges:
        """End to end, as it gives them."""
        found = self._told.ask(do="edges", question=question.as_json())["edges"]
        return folded({(to, into, table, column) for to, into, table, column in found})

    def seconds(self, questions: list[Question], rounds: int) -> float:
        """Taken in its own process."""
        return float(self._told.ask(do="time", questions=[q.as_json() for q in questions], rounds=rounds)["seconds"])
