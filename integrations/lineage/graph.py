"""Upstream and downstream over edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from integrations.lineage.edges import HOWS, ROWS, Edge, How, Source, Target

Node = tuple[str, str]


class ColumnGraph:
    """Edges by both ends; built once, asked often.

    A node is (relation, column); column `""` are the rows: whatever is reached there may move any column of it.
    """

    def __init__(self, edges: Iterable[Edge]) -> None:
        self._down: dict[Node, dict[Node, set[How]]] = defaultdict(dict)
        self._up: dict[Node, dict[Node, set[How]]] = defaultdict(dict)
        for source, target, how in edges:
            self._down[source].setdefault(target, set()).add(how)
            self._up[target].setdefault(source, set()).add(how)

    def downstream(self, relation: str, column: str = ROWS, *, hows: Collection[How] = HOWS) -> tuple[Target, ...]:
        """What a change of the column (or of the rows) may change, nearest first, itself left out.

        `hows`: by which edges; `("value",)` follows values alone.
        """
        return tuple(Target(*n) for n in _reach(self._down, (relation, column), frozenset(hows)))

    def upstream(self, relation: str, column: str = ROWS, *, hows: Collection[How] = HOWS) -> tuple[Source, ...]:
        """What may change the column (or the rows), nearest first, itself left out.

        What changes the rows of a relation may change each column; ask for the rows to have it too.
        """
        return tuple(Source(*n) for n in _reach(self._up, (relation, column), frozenset(hows)))


def _reach(links: dict[Node, dict[Node, set[How]]], start: Node, hows: frozenset[How]) -> list[Node]:
    found: dict[Node, None] = {}
    wave = [start]
    while wave:
        following: list[Node] = []
        for node in wave:
            for other, by in links.get(node, {}).items():
                if other not in found and other != start and not by.isdisjoint(hows):
                    found[other] = None
                    following.append(other)
        wave = following
    return list(found)
