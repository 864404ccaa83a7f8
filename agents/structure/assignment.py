"""The best assignment of one set to another, and how clearly each pair of it beats every other way.

The assignment is that of Kuhn (The Hungarian method for the assignment problem, 1955) and Munkres (1957), in the form
that grows it row by row along shortest augmenting paths over reduced costs (Edmonds and Karp 1972, Tomizawa 1971):
O(n³). How clearly a pair wins follows from the same reduced costs: leaving it costs as much as the shortest
alternating cycle through it (Floyd 1962, Warshall 1962), again O(n³).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NEVER: Final = 10**9


@dataclass(frozen=True, slots=True)
class Chosen:
    """A pair of the best assignment, and what the best assignment without it would lose."""

    row: int
    column: int
    margin: int


def best(rows: int, columns: int, scores: Mapping[tuple[int, int], int]) -> list[Chosen]:
    """The assignment of greatest total score.

    Args:
        rows: how many there are on one side.
        columns: and on the other.
        scores: of possible pairs, all positive; what is not there is impossible. Nobody has to be paired.
    """
    size = rows + columns  # everyone may stay alone, which is a pair with nobody
    costs = [[_cost(row, column, rows, columns, scores) for column in range(size)] for row in range(size)]
    owner, of_rows, of_columns = _solve(costs)
    place = {row: column for column, row in enumerate(owner)}
    reduced = [[costs[r][place[k]] - of_rows[r] - of_columns[place[k]] for k in range(size)] for r in range(size)]
    distances = _distances(reduced)
    found = []
    for row in range(rows):
        if place[row] >= columns:
            continue
        margin = min((reduced[row][k] + distances[k][row] for k in range(size) if k != row), default=_NEVER)
        found.append(Chosen(row, place[row], margin))
    return found


def _cost(row: int, column: int, rows: int, columns: int, scores: Mapping[tuple[int, int], int]) -> int:
    if row < rows and column < columns:
        return -scores.get((row, column), -_NEVER)
    return 0


def _solve(costs: list[list[int]]) -> tuple[list[int], list[int], list[int]]:
    """Who owns each column, and the potentials of rows and columns that prove it."""
    size = len(costs)
    of_rows, of_columns = [0] * size, [0] * size
    owner: list[int] = [-1] * size
    for start in range(size):
        nearest = [costs[start][c] - of_rows[start] - of_columns[c] for c in range(size)]
        reached_from = [-1] * size  # the column from whose owner a column is reached; -1 is the start
        done: list[int] = []
        is_done = [False] * size
        while True:
            column = min((c for c in range(size) if not is_done[c]), key=nearest.__getitem__)
            length = nearest[column]
            is_done[column] = True
            row = owner[column]
            if row < 0:
                break
            done.append(column)
            base = length - of_rows[row]
            for other in range(size):
                if not is_done[other] and (step := base + costs[row][other] - of_columns[other]) < nearest[other]:
                    nearest[other] = step
                    reached_from[other] = column
        of_rows[start] += length
        for passed in done:
            of_rows[owner[passed]] += length - nearest[passed]
            of_columns[passed] -= length - nearest[passed]
        while (previous := reached_from[column]) >= 0:
            owner[column] = owner[previous]
            column = previous
        owner[column] = start
    return owner, of_rows, of_columns


def _distances(lengths: list[list[int]]) -> list[list[int]]:
    size = len(lengths)
    found = [list(row) for row in lengths]
    for number in range(size):
        found[number][number] = 0
    for middle, through in enumerate(found):
        for line in found:
            head = line[middle]
            if head < _NEVER:
                line[:] = [min(length, head + rest) for length, rest in zip(line, through, strict=True)]
    return found
