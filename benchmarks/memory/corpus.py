"""What everybody remembers and asks: the same texts, vectors and questions for all, from a seed.

Standard library alone: peers import this file in environments of their own. Words follow Zipf's law around topics, and
vectors gather around the centres of the same topics, as sentences about the same things do.
"""

from __future__ import annotations

import itertools
import math
import operator
import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass

DIMENSIONS = 384
TOPICS = 400
WORDS = 30_000
# Who wrote an item: the shares that filtered searches are measured at; the rest is by somebody else.
SHARES = {"one-in-1000": 0.001, "one-in-100": 0.01, "one-in-20": 0.05, "one-in-5": 0.2}
REST = "everybody-else"
_SYLLABLES = [first + second for first in "bcdfgklmnprstvz" for second in "aeiou"]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to remember."""

    number: int
    agent: str
    asset: str
    text: str
    vector: list[float]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask, in words and as a vector."""

    words: str
    vector: list[float]


class Corpus:
    """Items and questions about anything; the same seed gives the same ones everywhere."""

    def __init__(self, seed: int = 7) -> None:
        rng = random.Random(seed)
        found: dict[str, None] = {}
        while len(found) < WORDS:
            found["".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 2, 3, 3, 4))))] = None
        self._words = list(found)
        self._common = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(WORDS)))
        self._topics = [[rng.randrange(200, WORDS) for _ in range(60)] for _ in range(TOPICS)]
        # As in real vectors, few directions matter: a point is a sum of steps in blocks of a few directions each.
        blocks = [[[rng.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(6)] for _ in range(4)]
        self._steps = [[_mixed(rng, block, 0.6) for _ in range(500)] for block in blocks]
        every = [direction for block in blocks for direction in block]
        self._centres = [_mixed(rng, every, 1.0) for _ in range(TOPICS)]

    def items(self, count: int, *, start: int = 0) -> Iterator[Item]:
        """So many items from a number on; an item depends on its number alone."""
        for number in range(start, start + count):
            rng = random.Random(number)
            topic = rng.randrange(TOPICS)
            draw, agent = rng.random(), REST
            for name, share in SHARES.items():
                if draw < share:
                    agent = name
                    break
                draw -= share
            yield Item(
                number,
                agent,
                f"warehouse://shop/raw.t{rng.randrange(2000)}",
                self._text(rng, topic, rng.randrange(25, 60), 0.3),
                self._vector(rng, topic),
            )

    def questions(self, count: int) -> list[Question]:
        """So many questions."""
        found = []
        for number in range(count):
            rng = random.Random(f"question {number}")
            topic = rng.randrange(TOPICS)
            found.append(Question(self._text(rng, topic, rng.randrange(4, 10), 0.5), self._vector(rng, topic)))
        return found

    def vocabulary(self) -> tuple[list[str], list[float]]:
        """The words, most common first, and how common each is, summed up."""
        return self._words, self._common

    def directions(self) -> tuple[list[list[float]], list[list[list[float]]]]:
        """The centres of the topics, and the steps away from them, block by block."""
        return self._centres, self._steps

    def _text(self, rng: random.Random, topic: int, length: int, on_topic: float) -> str:
        return " ".join(
            self._words[
                rng.choice(self._topics[topic])
                if rng.random() < on_topic
                else bisect(self._common, rng.random() * self._common[-1])
            ]
            for _ in range(length)
        )

    def _vector(self, rng: random.Random, topic: int) -> list[float]:
        steps = [rng.choice(block) for block in self._steps]
        return [round(sum(figures), 4) for figures in zip(self._centres[topic], *steps, strict=True)]


class Alike(Corpus):
    """What agents tell: a few kinds of sentences about the same tables and columns, over and over.

    A sentence's vector is the sum of what it says, as those of sentence models nearly are: what it tells, of which
    table (its layer and the two words of its name) and of which column, and a little that is its own.
    """

    def __init__(self, seed: int = 7) -> None:
        super().__init__(seed)
        rng = random.Random(seed)
        self._said = [[self._direction(rng) for _ in range(count)] for count in (8, 6, 20, 20, 12)]
        self._asked = [self._direction(rng) for _ in range(5)]
        self._tables = [
            (layer, first, second) for layer in range(6) for first in range(20) for second in rng.sample(range(20), 4)
        ]

    def questions(self, count: int) -> list[Question]:
        """Of a table, in other words than those it is told in."""
        found = []
        for number in range(count):
            rng = random.Random(f"question {number}")
            parts = [(0.5, rng.choice(self._asked)), (0.4, rng.choice(self._said[0])), *self._table(rng)]
            found.append(Question(self._text(rng, number % TOPICS, 6, 0.5), self._sum(rng, parts)))
        return found

    def _vector(self, rng: random.Random, topic: int) -> list[float]:
        kinds, *_, columns = self._said
        return self._sum(rng, [(1.0, kinds[topic % len(kinds)]), *self._table(rng), (0.3, rng.choice(columns))])

    def _table(self, rng: random.Random) -> list[tuple[float, list[float]]]:
        _, layers, firsts, seconds, _ = self._said
        layer, first, second = rng.choice(self._tables)
        return [(0.4, layers[layer]), (0.5, firsts[first]), (0.5, seconds[second])]

    def _sum(self, rng: random.Random, parts: list[tuple[float, list[float]]]) -> list[float]:
        own = (0.2, self._direction(rng))
        weights, figures = zip(own, *parts, strict=True)
        return [round(sum(map(operator.mul, weights, at)), 5) for at in zip(*figures, strict=True)]

    @staticmethod
    def _direction(rng: random.Random) -> list[float]:
        figures = [rng.gauss(0, 1) for _ in range(DIMENSIONS)]
        length = math.hypot(*figures)
        return [figure / length for figure in figures]


CORPORA = {"anything": Corpus, "alike": Alike}


def _mixed(rng: random.Random, directions: list[list[float]], size: float) -> list[float]:
    """A random mixture of directions."""
    much = [rng.gauss(0, size) for _ in directions]
    return [sum(map(operator.mul, much, figures)) for figures in zip(*directions, strict=True)]
